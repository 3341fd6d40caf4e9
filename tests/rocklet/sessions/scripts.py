"""Shell scripts at random, out of a grammar: whatever one prints and returns is the same each time it is run.

None reads its stdin, looks at a clock, a pid or the terminal, or lets two processes print at once.  The error messages
of the shell itself are not printed, since an interactive one words them in its own way.
"""

from __future__ import annotations

import shlex

from hypothesis import strategies as st

__all__ = ["scripts"]

_PREAMBLE = "v='x y' n=3 e= arr=(one 'two three' 4); declare -A map=([k]='v w'); set -- p 'q r'\n"
_NAMES = st.sampled_from(["v", "w"])
_CODES = st.sampled_from([0, 1, 3, 42, 126, 255])
_FILES = st.sampled_from(["f1", "f2"])
_SEPARATORS = st.sampled_from(["; ", "\n", "\n\n", " ;\n", '\n# it\'s "a" comment\n'])

_ARITHMETIC = st.recursive(
    st.sampled_from(["n", "1", "7", "-2", "0x1f", "2#101", "${#v}", "${#arr[@]}"]),
    lambda part: st.builds(
        "({} {} {})".format, part, st.sampled_from(["+", "-", "*", "&", "<<3|", "==", "<", "&&", "||", "? 5 :"]), part
    ),
    max_leaves=4,
)
_EXPANSIONS = [
    *("$v", "${e:-d}", "${e:+no}", "${#v}", "${v^^}", "${v%y}", "${v/x/z}", "${v:1:2}", "${v@Q}", "${!v@}", "$#", "$?"),
    *("$*", "$@", "$1", "${arr[@]}", "${arr[*]:1}", "${#arr[@]}", "${!arr[@]}", "${arr[-1]}", "${map[k]}", "${nope-}"),
]
_WORDS = st.one_of(
    st.sampled_from(
        [
            *("a", "bc", "'two  words'", "''", '""', "$'t\\tn\\n'", "\\$v", "\\\\", "ünï→日本", "a{1,2}b", "~+"),
            *("'it'\\''s'", '"a\\"b\\\\$"', "'$v `x` !!'", "*.none", "[a]", "a#b", "'#'", "'\n'", "!", "{1..3}"),
            '"it\'s"',
        ]
    ),
    st.sampled_from(_EXPANSIONS),
    st.sampled_from(_EXPANSIONS).map('"<{}>"'.format),
    _ARITHMETIC.map("$(({}))".format),
    st.sampled_from(["$(echo 'c d')", '"$(printf "a\\nb\\n\\n")"', "`echo \\`echo old\\``", '"$(cat <<< "h $v")"']),
)
_ARGUMENTS = st.lists(_WORDS, max_size=3).map(" ".join)

_SIMPLE = st.one_of(
    st.builds("echo {}".format, _ARGUMENTS),
    st.builds("printf '<%s>' {}".format, _ARGUMENTS),
    st.builds("printf '%s\\n' {}".format, _ARGUMENTS),
    st.builds("echo {} >&2".format, _ARGUMENTS),
    st.builds("{}={}".format, _NAMES, _WORDS.filter(lambda word: not word.startswith("$@"))),
    st.builds("arr+=({})".format, _ARGUMENTS),
    st.builds("set -- {}".format, _ARGUMENTS),
    st.builds("(( {} ))".format, _ARITHMETIC),
    st.builds("(exit {})".format, _CODES),
    st.builds("[[ {} == *[xy]* ]]".format, st.sampled_from(['"$v"', "a", "$1"])),
    st.builds("cat <<E\nline $v $(( {} )) 'q' \"$(echo `echo s`)\" \\$v\nE\n(exit $?)".format, _ARITHMETIC),
    st.sampled_from(
        [
            *("true", "false", ":", "echo $?", "echo ${PIPESTATUS[*]}", "unset v", "unset 'arr[0]'", "shift"),
            *("pwd | wc -l", "cat <<'E'\n$v `x` \\ 'E\nE\n(exit $?)", "cat <<-E\n\t\ttabs\n\tE\n(exit $?)"),
            *("cat <<A - <<<b\na\nA\n(exit $?)", "cat <(echo p) <<< x", "read -r v w <<< 'r1 r2 r3'"),
            *("IFS=, read -ra arr <<< 'i,j k,l'", "mapfile -t arr < <(printf 'm 1\\nm 2\\n')", "printf -v w %03d 7"),
            *("let n+=2", "((n++))", "local x=1 2>/dev/null", "declare -p arr map", "type -t echo f cd"),
            *("exec 3>f1; echo x >&3; exec 3>&-; cat f1", "{ echo o; echo e >&2; } 3>&1 1>&2 2>&3"),
            *("cat f1 f2 2>/dev/null", "trap 'echo usr1 $?' USR1; kill -USR1 $BASHPID", "nosuchprogram 2>/dev/null"),
            *("cd / && cd - >/dev/null", "(trap 'echo term; exit 5' TERM; kill $BASHPID; echo late)"),
            *("(trap '' TERM; kill $BASHPID; echo lived)", "( (kill -TERM $BASHPID; echo late); exit $?) 2>/dev/null"),
            *("(bash -c 'kill -9 $$'; exit $?) 2>/dev/null", "kill -0 $$"),
            *("sleep 300 & { kill -9 $!; wait $!; } 2>/dev/null", "(exit 9) & wait $!"),
            *("{ echo b >f2; } & wait; cat f2", "(sleep 300 & trap 'kill -9 $!' EXIT)"),
            *("(trap 'echo bye $?' EXIT; exit 6)", "command -v cd", "builtin echo b"),
            *("seq 3 | (read x; echo $x; cat)", "yes | head -2", "printf 'b\\na\\n' | sort | tr ab AB"),
            "echo no-newline | tr -d '\\n'",
        ]
    ),
)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    some = st.lists(inner, min_size=1, max_size=3)
    body = st.builds(lambda parts, between: between.join(part.rstrip() for part in parts) + "\n", some, _SEPARATORS)
    return st.one_of(
        body,
        st.builds("{{ {} }}".format, body),
        st.builds("( {} )".format, body),
        st.builds("! {{ {} }}".format, body),
        st.builds("{{ {} }} && {{ {} }} || echo or".format, body, body),
        st.builds("if {{ {} }} then {} else {} fi".format, body, body, body),
        st.builds("case {} in (a|b*) {} ;; *) {} ;& ('') echo fell ;; esac".format, _WORDS, body, body),
        st.builds("for x in {}; do echo $x; {} done".format, _ARGUMENTS, body),
        st.builds("(for ((i = 0; i < 3; i++)); do ((i == 1)) && continue; {} done)".format, body),
        st.builds("(i=0; while ((i++ < 2)); do {} done)".format, body),
        st.builds("(i=0; until ((i++ > 4)); do {} ((i == 2)) && break; done)".format, body),
        st.builds("f() {{ local v=l; {} return {}; }}; f {}".format, body, _CODES, _ARGUMENTS),
        st.builds("g() ( {} exit {} ); g".format, body, _CODES),
        st.builds("r() {{ local d=$1; ((d)) || return 0; echo $d; {} r $((d - 1)); }}; r 2".format, body),
        st.builds("{{ {} }} 2>&1 | {}".format, body, st.sampled_from(["cat -A", "tr a-z A-Z", "tail -2", "wc -l"])),
        st.builds('{{ {} }} 2>&1 | while IFS= read -r l; do echo "[$l]"; done'.format, body),
        st.builds("(set -o pipefail; {{ {} }} 2>&1 | cat; echo $?)".format, body),
        st.builds("{{ {} }} >{} 2>&1; cat {} 2>/dev/null".format, body, _FILES, _FILES),
        st.builds("{{ {} }} >>{}".format, body, _FILES),
        st.builds("{{ {} }} >/dev/null 2>&1".format, body),
        st.builds("({{ {} }} & wait $!)".format, body),
        st.builds('x="$( {} )"; echo "$? $x"'.format, body),
        st.builds("(set -e; {} echo end)".format, body),
        st.builds("(set -u; {} echo ${{nope}}; echo unreached) 2>/dev/null".format, body),
        st.builds("(trap 'echo err $?' ERR; set -E; {} )".format, body),
        st.builds("(trap 'echo exit $?' EXIT; {} )".format, body),
        st.builds("(trap 'echo debug' DEBUG; {} )".format, body),
        st.builds("(echo $((1 / 0)); {} echo unreached) 2>/dev/null".format, body),
        body.map(lambda text: f"eval {shlex.quote(text)}"),
        body.map(lambda text: f"bash -c {shlex.quote(text)} sh one 'two three' 2>&1 | cat"),
        body.map(lambda text: f". <(printf %s {shlex.quote(text)})"),
    )


_BODIES = st.recursive(_SIMPLE, _compound, max_leaves=8)
_ENDS = st.one_of(
    st.just(""),
    _CODES.map("exit {}".format),
    _CODES.map("(exit {})".format),
    _CODES.map("trap 'echo bye $?' EXIT; exit {}".format),
    st.just("set -e; echo before; false; echo unreached"),
)
scripts: st.SearchStrategy[str] = st.builds(
    lambda bodies, end: _PREAMBLE + "\n".join([*bodies, end]), st.lists(_BODIES, min_size=1, max_size=4), _ENDS
)
"""Scripts for bash, many lines long or one."""

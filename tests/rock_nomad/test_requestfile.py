from pathlib import Path

import pytest

from rock.wire.errors import InvalidRequest
from rock_nomad.requestfile import Run, Upload, load_request_file, spec_from_text

EXAMPLES = sorted((Path(__file__).parents[2] / "jobspecs" / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_request_file(path: Path) -> None:
    request = load_request_file(path)
    assert request.name == path.stem
    assert request.steps
    assert all(request.local(step.upload).exists() for step in request.steps if isinstance(step, Upload))


def test_sizes_are_written_as_people_do() -> None:
    sizes = {"memory": "512m", "disk": "1g", "shm": "2g", "gpu_memory": "70 GiB"}
    spec = spec_from_text({**sizes, "gpus": 1}, source="here")
    assert (spec.memory_bytes, spec.disk_bytes, spec.gpu_memory_bytes) == (512 * 2**20, 2**30, 70 * 2**30)
    assert spec.shm_bytes == 2**31


def test_a_step_is_known_by_its_key(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("steps:\n  - run: make\n    timeout: 3\n    expect_exit: 2\n")
    assert load_request_file(file).steps == [Run(run="make", timeout=3, expect_exit=2)]
    assert load_request_file(file).name == "x"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sandbox: {memory: lots}", r"x\.yaml: sandbox\.memory: invalid size 'lots'"),
        ("sandbox: {cpu: 2}", r"x\.yaml: sandbox: unknown field 'cpu'; the fields here are .*cpus"),
        ("sandbox: {cpus: -2}", r"x\.yaml: sandbox: cpus is -2; it must be vCPUs, more than 0"),
        ("sandbx: {}", r"x\.yaml: sandbx: Extra inputs are not permitted"),
        ("steps: [{runn: x}]", r"x\.yaml: steps\.0\.run"),
        ("steps: [{upload: a}]", r"x\.yaml: steps\.0\.upload\.to: Field required"),
        ("[", r"x\.yaml is not YAML"),
        ("3", r"x\.yaml: the file"),
    ],
)
def test_a_fault_names_the_file_and_the_key(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(InvalidRequest, match=complaint):
        load_request_file(file)


def test_a_file_that_is_not_there_says_where_examples_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="jobspecs/examples"):
        load_request_file(tmp_path / "none.yaml")

"""Sokoban in a sandbox: episodes of random moves, and what each brought in.

    python jobspecs/examples/sokoban.py [EPISODES]
"""

import random
import sys

import rock

MOVES = ["up", "down", "left", "right"]


def main(episodes: int) -> None:
    policy = random.Random(7)
    try:
        env = rock.make("game:Sokoban-v0-easy")
    except rock.BadRequestRockError as error:  # GEM is not set up: one of its requirements wants a C compiler
        print(f"not played: {error}")
        return
    try:
        for episode in range(episodes):
            observation, info = env.reset(seed=episode)
            total, steps, terminated, truncated = 0.0, 0, False, False
            while not (terminated or truncated):
                action = rf"I would go \boxed{{{policy.choice(MOVES)}}}"
                observation, reward, terminated, truncated, info = env.step(action)
                total, steps = total + reward, steps + 1
            print(f"episode {episode}: return {total:+.2f} after {steps} steps: {observation}")
    finally:
        env.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

"""The Sokoban loop of ROCK's examples: make, reset, step until the episode ends, close."""

import random

import rock


def main() -> None:
    """Play one episode with random moves."""
    env = rock.make(env_id="game:Sokoban-v0-easy")
    observation, info = env.reset(seed=42)
    print("begins:", observation.splitlines()[0])
    print(info["suffix"])
    steps = 0
    while True:
        action = "\\boxed{" + random.choice(["up", "left", "right", "down"]) + "}"
        observation, reward, terminated, truncated, info = env.step(action)
        steps += 1
        if terminated or truncated:
            break
    print(f"ends after {steps} steps with reward {reward}: {observation}")
    env.close()


if __name__ == "__main__":
    main()

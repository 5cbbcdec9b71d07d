"""Commands of the command line about training: its time, its augmentation, its learning rate; `cli` adds them."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from flows.commands.print_errors import print_errors


@print_errors
def profile(
    steps: Annotated[
        int, typer.Option(min=1, help="training steps in each of two epochs: one is timed, one is traced")
    ] = 10,
) -> None:
    """Measure training time by part, and write traces. Parts: data, forward, backward, optimizer, each layer."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no messages of torch's profiler between ours
    from flows.commands import profile as training_profile

    training_profile.profile(steps, typer.echo)


@print_errors
def augment(
    images: Annotated[
        int, typer.Option(min=1, max=64, help="number of train images, of all classes; one row of the picture each")
    ] = 8,
    epochs: Annotated[int, typer.Option(min=1, max=20, help="number of epochs; one column of the picture each")] = 6,
) -> None:
    """Show the augmentation of training. Writes a picture of augmented train images and the policy in YAML."""
    from flows.commands.augment import augment as write_augmentation

    policy, picture = write_augmentation(images, epochs, typer.echo)
    typer.echo(
        f"policy: {policy} (a file for albumentations)\npicture: {picture} (it shows train images: do not publish it)"
    )


@print_errors
def find_rate(
    arm: Annotated[str, typer.Option(help="arm whose encoder is used; by default the first of study.arms")] = "",
    protocol: Annotated[str, typer.Option(help="frozen or full; by default the first of study.protocols")] = "",
    steps: Annotated[int, typer.Option(min=10, help="number of batches; the rate rises with each")] = 100,
) -> None:
    """Run a learning-rate range test (Smith 2017). It suggests a peak learning rate and draws the curve."""
    from flows.commands import profile as training_profile

    typer.echo(f"figure: {training_profile.find_rate(arm, protocol, steps, typer.echo)}")


COMMANDS = (profile, augment, find_rate)
"""In the order of `dermflow --help`; an underscore is a dash there."""

"""Brings peers onto the machine: virtual environments from PyPI, a crate's example from crates.io, our own program.

Everything lies under one cache directory and is made again only when its pins change. Uses pip and cargo as the machine
has them configured. What cannot be had raises `Unavailable` with the reason; the comparison goes on without that peer.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent.parent
INSTALL_LIMIT_S = 3600


class Unavailable(Exception):
    """A peer cannot be installed or run here; the text says why."""


def run(command, what, **kwargs):
    """Runs a command to its end and returns what it printed; Unavailable with its last line if it fails."""
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=INSTALL_LIMIT_S,
            stdin=subprocess.DEVNULL,
            **kwargs,
        )
    except FileNotFoundError:
        raise Unavailable(f"{what}: `{command[0]}` is not installed") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{what}: not done after {INSTALL_LIMIT_S} s") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        raise Unavailable(f"{what}: {said[-1].strip()}")
    return done.stdout


def pins(name):
    """(package without extras, version) of each line of a requirements file."""
    lines = (HERE / "requirements" / f"{name}.txt").read_text().splitlines()
    pinned = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {package.split("[")[0]: version for package, version in pinned}


def environment(cache, name):
    """The python of the virtual environment `name`, which sees PyTorch's environment behind its own packages."""
    behind = None if name == "torch" else site_packages(environment(cache, "torch"))
    place = cache / "venvs" / name
    python = place / "bin" / "python"
    wanted = (HERE / "requirements" / f"{name}.txt").read_text()
    stamp = place / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {name}: {', '.join(f'{k} {v}' for k, v in pins(name).items())}", file=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(place)], "no virtual environment (on Debian: apt install python3-venv)")
    if behind is not None:
        (site_packages(python) / "torch-environment.pth").write_text(f"{behind}\n")
    requirements = HERE / "requirements" / f"{name}.txt"
    run([str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)], f"pip cannot install {name}")
    stamp.write_text(wanted)
    return python


def site_packages(python):
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run([str(python), "-c", code], "python does not start").strip())


def crate_example(cache, crate, version, example):
    """Builds an example of a published crate in release and returns the program."""
    place = cache / crate
    program = place / "target" / "release" / "examples" / example
    stamp = place / "built.txt"
    if stamp.exists() and stamp.read_text() == version:
        return program
    print(f"building {crate} {version}: takes minutes", file=sys.stderr)
    source = place / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(crate_source(place / "fetch", crate, version), source)
    # A published crate may ask for another toolchain; the comparison is between programs of the same compiler.
    (source / "rust-toolchain.toml").unlink(missing_ok=True)
    with (source / "Cargo.toml").open("a") as manifest:
        manifest.write("\n[workspace]\n")  # It lies below ours and is none of its members.
    build = ["cargo", "build", "--release", "--locked", "--example", example, "--target-dir", str(place / "target")]
    run(build, f"cargo cannot build {crate} {version}", cwd=source)
    stamp.write_text(version)
    return program


def crate_source(place, crate, version):
    """Lets cargo fetch a crate, as a dependency of an empty package, and returns where it has put the source."""
    (place / "src").mkdir(parents=True, exist_ok=True)
    (place / "src" / "lib.rs").write_text("")
    (place / "Cargo.toml").write_text(
        '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n'
        f'[dependencies]\n{crate} = "={version}"\n'
    )
    listing = run(["cargo", "metadata", "--format-version", "1"], f"cargo cannot fetch {crate} {version}", cwd=place)
    return next(Path(p["manifest_path"]).parent for p in json.loads(listing)["packages"] if p["name"] == crate)


def our_version():
    """The commit that is compared, marked if the working tree differs from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return {"commit": run(command, "no commit", cwd=REPOSITORY).strip()}
    except Unavailable:
        return {"commit": "unknown"}


def our_program(_cache):
    """`impala` of this repository; cargo finds out whether anything is to be built."""
    run(["cargo", "build", "--release", "--package", "impala"], "cargo cannot build impala", cwd=REPOSITORY)
    listing = run(["cargo", "metadata", "--format-version", "1", "--no-deps"], "no cargo metadata", cwd=REPOSITORY)
    return Path(json.loads(listing)["target_directory"]) / "release" / "impala"

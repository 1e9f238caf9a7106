"""The build of one firmware: one port, the core, one app and a compiled model (SCons, run by PlatformIO).

Environment variables, set by tinyfl_host.build: TFL_MODEL_DIR (model.c, model.h), TFL_APP (main or profile) and, to see
how large a firmware is that does not fit, TFL_OVERSIZE=1. TFL_SANITIZE=1: a host process with ASan and UBSan.
"""

import os
import sys
from pathlib import Path

from SCons.Script import AlwaysBuild, Default, DefaultEnvironment

WARNINGS = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
OPTIMISE = ["-O2", "-g", "-ffunction-sections", "-fdata-sections", "-fno-common"]
OVERSIZE = 0x8000000  # 128 MiB: more than any board has

env = DefaultEnvironment()
firmware = Path(env.subst("$PROJECT_SRC_DIR"))


def option(name, fallback=None):
    """A custom_ option of this environment."""
    return env.GetProjectOption(f"custom_{name}", fallback)


def required(variable):
    """An environment variable that only `tinyfl build` knows."""
    value = os.environ.get(variable)
    if not value:
        sys.exit(f"{variable} is not set: build with `tinyfl build MODEL --env {env.subst('$PIOENV')}`")
    return value


def use_host():
    """A board as a process: the compiler of this computer."""
    cc = os.environ.get("CC", "cc")
    env.Replace(CC=cc, LINK=cc, AR="ar", RANLIB="ranlib", PROGSUFFIX="")
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"] if os.environ.get("TFL_SANITIZE") else []
    env.Append(CPPDEFINES=["_POSIX_C_SOURCE=200809L"], CCFLAGS=sanitize, LINKFLAGS=sanitize)


def use_cortex_m():
    """A Cortex-M board: no libc, our start-up, the memory of platformio.ini."""
    prefix = "arm-none-eabi-"
    tools = {"CC": "gcc", "AS": "gcc", "LINK": "gcc", "AR": "gcc-ar", "RANLIB": "gcc-ranlib", "OBJCOPY": "objcopy"}
    env.Replace(**{tool: prefix + program for tool, program in tools.items()}, PROGSUFFIX=".elf")
    cpu = env.Split(option("cpu"))
    cortexm = firmware / "platform" / "cortexm"
    env.Append(
        CCFLAGS=[*cpu, "-ffreestanding"],
        CPPPATH=[str(cortexm)],
        CPPDEFINES=data_image(),
        LINKFLAGS=[*cpu, "-nostdlib", "-Wl,--gc-sections,--fatal-warnings,-Map,${BUILD_DIR}/firmware.map"],
        LIBS=["gcc"],
        LIBPATH=[str(cortexm), "$BUILD_DIR"],
        LDSCRIPT_PATH=write_memory(),
    )


def data_image():
    """Where a board that learns finds its samples; inference alone needs none."""
    if app == "profile":
        return []
    return [(f"TFL_{name.upper()}", f"{option(name)}u") for name in ("data_address", "data_bytes")]


def write_memory():
    """The linker script with this board's memory."""
    oversize = OVERSIZE if os.environ.get("TFL_OVERSIZE") else 0
    path = Path(env.subst("$BUILD_DIR")) / "memory.ld"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"MEMORY\n{{\n"
        f"    FLASH (rx) : ORIGIN = 0, LENGTH = {int(option('flash'), 0) + oversize:#x}\n"
        f"    RAM (rwx) : ORIGIN = 0x20000000, LENGTH = {int(option('ram'), 0) + oversize:#x}\n"
        f"}}\n"
        f"TFL_STACK_BYTES = {option('stack')};\n"
        f"INCLUDE cortexm.ld\n"
    )
    return str(path)


def sources(app):
    """Which files of firmware/ make this app; a profile holds inference alone."""
    core = ["core/ops/"] if app == "profile" else ["core/"]
    platform = ["core/image.c", "core/wire.c"] if option("cpu") is None else ["platform/cortexm/"]
    return [f"+<{path}>" for path in (*core, f"ports/{option('port')}/", *platform, f"app/{app}.c")]


def start_upload(target, source, env):
    """Flashes the board with pyocd."""
    name = option("upload")
    if name is None:
        sys.exit(f"{env.subst('$PIOENV')} is not a board that can be flashed")
    command = [env.subst("$PYTHONEXE"), "-m", "pyocd", "load", "--no-wait", "--target", name, str(source[0])]
    probe = os.environ.get("TFL_PROBE")
    return env.Execute([[*command, *(["--uid", probe] if probe else [])]])


model = required("TFL_MODEL_DIR")
app = os.environ.get("TFL_APP", "main")
env.Replace(PROGNAME="firmware", SIZETOOL="size")
env.Append(
    CFLAGS=WARNINGS,
    CCFLAGS=OPTIMISE,
    CPPPATH=[str(firmware / "include"), model],
)
use_host() if option("cpu") is None else use_cortex_m()
env.Replace(SRC_FILTER=sources(app))
env.BuildSources("$BUILD_DIR/model", model)

program = env.BuildProgram()
upload = env.Alias("upload", program, start_upload)
AlwaysBuild(upload)
Default(program)

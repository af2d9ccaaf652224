"""The files that are shipped say what the code says."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

from server.config import Config, Flags, environment_name, is_secret, load_config, setting_fields

ROOT = Path(__file__).parents[3]


def test_every_key_of_every_section_stands_in_config_toml_and_no_other() -> None:
    tables = tomllib.loads((ROOT / "config.toml").read_text())
    written = [(section, key) for section, table in tables.items() for key in table]
    assert written == [path for path, field in setting_fields().items() if not is_secret(field)]


def test_config_toml_equals_the_defaults(tmp_path: Path) -> None:
    shutil.copy(ROOT / "config.toml", tmp_path)
    config = load_config(Flags(), {}, tmp_path)
    assert config.file == tmp_path / "config.toml"
    assert config == Config(file=config.file, sources=config.sources)


def test_every_key_in_config_toml_has_a_comment() -> None:
    lines = (ROOT / "config.toml").read_text().splitlines()
    assert [line for line in lines if " = " in line and "  # " not in line] == []


def test_every_environment_name_stands_in_dotenv_example_and_no_other() -> None:
    written = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    names = [name for field in setting_fields().values() if (name := environment_name(field))]
    secrets = ["OPENROUTER_API_KEY", "SERVER_TOKENS", "REDIS_URL", "REDIS_TEXT_KEY"]
    files = [f"{name}_FILE" for name in secrets]
    assert sorted(written) == sorted([*names, *secrets, *files, "OPENROUTER_CONFIG"])


def test_dotenv_example_with_every_line_switched_on_equals_the_defaults(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z_]+=)", "", text, flags=re.MULTILINE))
    config = load_config(Flags(), {}, tmp_path)
    assert config == Config(sources=config.sources)
    assert "server.port" in config.sources


def test_every_key_but_the_secret_one_has_its_own_environment_name() -> None:
    names = {path: environment_name(field) for path, field in setting_fields().items() if not is_secret(field)}
    assert None not in names.values()
    assert len(set(names.values())) == len(names)

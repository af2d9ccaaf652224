"""`print-config --write`: the entry is put into the client's own file, and the rest stays as it was."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from mcp_app.clients.json_edit import NotEditable, read_json, with_entry
from mcp_app.clients.places import config_file
from mcp_app.clients.snippets import CLIENTS
from mcp_app.clients.text_edit import with_block, with_table
from server.commands.mcp_command import main

ENTRY = {"command": "/x", "env": {"A": "1"}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", json.dumps({"m": {"openrouter": ENTRY}}, indent=2) + "\n"),
        ("{}", None),
        ("// mine\n{\n}\n", None),
        ('{"m": {}}', None),
        ('{\n  // why\n  "m": {\n    "other": {"command": "y"} // here\n  },\n  "z": [1, 2,],\n}\n', None),
        ('{\n\t"m": {\n\t\t"a": "// no comment", /* , */\n\t}\n}', None),
        ('{"m": {"openrouter": {"command": "old", "args": ["}"]}, "b": "\\"{"}}', None),
        ('{"a": "x,]", "m": {"b": null}}', None),
        ('{"a": 1, // say "hi, or 5" wide\n "m": {} /* " */}', None),
    ],
)  # fmt: skip
def test_json_with_comments_keeps_them(before: str, after: str | None) -> None:
    changed = with_entry(before, ("m", "openrouter"), ENTRY)
    assert after is None or changed == after
    old = read_json(before) or {}
    assert read_json(changed) == {**old, "m": {**old.get("m", {}), "openrouter": ENTRY}}
    for comment in ("// mine", "// why", "// here", "/* , */"):
        assert (comment in changed) is (comment in before)
    assert with_entry(changed, ("m", "openrouter"), ENTRY) == changed


@pytest.mark.parametrize("before", ["[]", '{"m": []}', '{"m": 1}', '{"m"', "nonsense", '{"m": {"a": 1}} x'])
def test_what_is_not_as_it_should_be_is_left_alone(before: str) -> None:
    with pytest.raises(NotEditable):
        with_entry(before, ("m", "openrouter"), ENTRY)


@pytest.mark.parametrize(
    "before",
    [
        "",
        'model = "x" # mine\n',
        '# top\n[mcp_servers.other]\ncommand = "y"\n\n[z]\na = 1\n',
        '[mcp_servers.openrouter]\ncommand = "old"\n[mcp_servers.openrouter.env]\nOLD = "1"\n\n# kept\n[z]\na = 1\n',
    ],
)
def test_toml_gets_a_table_and_keeps_the_rest(before: str) -> None:
    changed = with_table(before, ("mcp_servers", "openrouter"), ENTRY)
    old = tomllib.loads(before)
    servers = {**old.get("mcp_servers", {}), "openrouter": ENTRY}
    assert tomllib.loads(changed) == {**old, "mcp_servers": servers}
    for comment in ("# mine", "# top"):
        assert (comment in changed) is (comment in before)
    assert with_table(changed, ("mcp_servers", "openrouter"), ENTRY) == changed


@pytest.mark.parametrize("before", ["mcp_servers = {}\n", "mcp_servers = 1\n", "no toml"])
def test_toml_that_is_written_otherwise_is_left_alone(before: str) -> None:
    with pytest.raises(NotEditable):
        with_table(before, ("mcp_servers", "openrouter"), ENTRY)


@pytest.mark.parametrize(
    "before",
    [
        "",
        "a: 1 # mine\n",
        "extensions:\n    other:\n        x: 1\na: 1\n",
        "a: 1\nextensions: {}\n",
        "extensions:\n  # why\n  other: {x: 1}",
    ],
)
def test_yaml_gets_a_block_and_keeps_the_rest(before: str) -> None:
    changed = with_block(before, "extensions", "openrouter", ENTRY)
    old = yaml.safe_load(before) or {}
    assert yaml.safe_load(changed) == {
        **old,
        "extensions": {**(old.get("extensions") or {}), "openrouter": ENTRY},
    }
    assert ("# why" in changed) is ("# why" in before)


@pytest.mark.parametrize(
    "before",
    [
        "extensions: [1]\n",
        "extensions:\n  openrouter:\n    x: 1\n",
        "a: 1\n---\nb: 2\n",
        "extensions:\n# c\n- 1\n",
        '"extensions": {}\n',
        "- 1\n",
    ],
)
def test_yaml_that_is_not_plain_is_left_alone(before: str) -> None:
    with pytest.raises(NotEditable):
        with_block(before, "extensions", "openrouter", ENTRY)


def test_the_file_is_changed_after_it_was_shown_and_a_copy_is_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """G3."""
    file = tmp_path / "mcp.json"
    file.write_text('{\n  "mcpServers": {"mine": {"command": "y"}} // mine\n}\n')
    file.chmod(0o640)
    before = file.read_text()
    asked = ["print-config", "--client", "cursor", "--write", str(file)]
    assert main(asked) == 0
    shown = capsys.readouterr()
    assert '+    "openrouter": {' in shown.out or '+  "openrouter"' in shown.out or "openrouter" in shown.out
    assert str(file) in shown.err
    assert "paste-your-OpenRouter-key-here" in shown.err
    assert (tmp_path / "mcp.json.bak").read_text() == before
    assert file.stat().st_mode & 0o777 == 0o640
    written = read_json(file.read_text())
    assert set(written["mcpServers"]) == {"mine", "openrouter"}
    assert main(asked) == 0
    assert "already" in capsys.readouterr().err
    assert not (tmp_path / "mcp.json.bak2").exists()


def test_a_key_that_is_there_stays_when_the_entry_is_written_anew(tmp_path: Path) -> None:
    for client, name in (("cursor", "mcp.json"), ("codex", "config.toml")):
        file = tmp_path / name
        ask = ["print-config", "--client", client, "--write", str(file)]
        assert main(ask) == 0
        file.write_text(file.read_text().replace("paste-your-OpenRouter-key-here", "sk-or-v1-mine"))
        assert main(["--config", "/c.toml", *ask, "--folder", "/pictures", "--folder", "/notes"]) == 0
        assert "/pictures,/notes" in file.read_text()
        assert "sk-or-v1-mine" in file.read_text()
        assert "/c.toml" in file.read_text()
        assert (tmp_path / f"{name}.bak").exists()


def test_vs_codes_question_is_added_once(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"inputs": [{"id": "other"}], "servers": {}}')
    for _ in range(2):
        assert main(["print-config", "--client", "vscode", "--write", str(file)]) == 0
    written = json.loads(file.read_text())
    assert [each["id"] for each in written["inputs"]] == ["other", "openrouter-key"]


def test_a_link_stays_one_and_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "dotfiles" / "real.json")
    assert main(["print-config", "--client", "cursor", "--write", str(tmp_path / "link.json")]) == 0
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "dotfiles" / "real.json").stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_understood_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mcp.json"
    file.write_text("{ nonsense")
    assert main(["print-config", "--client", "cursor", "--write", str(file)]) == 64
    assert file.read_text() == "{ nonsense"
    assert "left as it is" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["mcp.json"]  # noqa: PTH208


@pytest.mark.parametrize("client", CLIENTS)
def test_write_finds_each_clients_own_file(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "CODEX_HOME", "COPILOT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    code = main(["print-config", "--client", client, "--write"])
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    if client in ("librechat", "open-webui"):
        assert (code, written) == (64, [])
        return
    assert code == 0
    assert len(written) == 1
    assert "openrouter" in written[0].read_text()


def test_other_systems_have_other_places(tmp_path: Path) -> None:
    windows = config_file("vscode", home=tmp_path, cwd=tmp_path, environ={"APPDATA": "/roaming"}, platform="win32")
    mac = config_file("claude-desktop", home=tmp_path, cwd=tmp_path, environ={}, platform="darwin")
    assert windows == Path("/roaming/Code/User/mcp.json")
    assert mac == tmp_path / "Library" / "Application Support" / "Claude" / "claude_desktop_config.json"

"""A configuration's files: standard input, what one includes, environment variables, and the place of each mistake."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from responder.config.reading import Reading, read, read_sources
from responder.config.source import Source
from responder.errors import ConfigErrors

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    return write_file


def names(reading: Reading) -> list[str]:
    assert reading.errors == ()
    return [instance.name for instance in reading.instances]


def mistakes(reading: Reading, folder: Path) -> list[str]:
    return [str(error).replace(f"{folder}/", "") for error in reading.errors]


class TestStandardInput:
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def give(self, monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))

    def test_is_read_as_a_file_of_this_folder_is(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.give(monkeypatch, b"[plugins.echo]\n")
        reading = read(Path("-"))
        assert names(reading) == ["echo"]
        assert (reading.file, reading.folder) == (Path("-"), tmp_path)

    def test_a_reload_has_the_same_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.give(monkeypatch, b"[plugins.echo]\n")
        assert names(read(Path("-"))) == names(read(Path("-"))) == ["echo"]

    def test_its_mistakes_name_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.give(monkeypatch, b"[plugins.echo]\nprot = 7\n")
        (error,) = read(Path("-")).errors
        assert str(error) == "standard input:2: plugins.echo.prot: unknown key; did you mean 'port'?"
        self.give(monkeypatch, b"\n\xff")
        with pytest.raises(ConfigErrors, match=r"^standard input:2: is not UTF-8"):
            read(Path("-"))


class TestInclude:
    def test_files_come_after_the_one_that_includes_them_in_the_order_of_their_names(self, write: Write) -> None:
        main = write("a.toml", "include = ['last.toml', 'conf.d/*.toml', '*/a.toml']\n[plugins.main]\nuse = 'echo'\n")
        write("conf.d/b.toml", "[plugins.b]\nuse = 'echo'\n")
        write("conf.d/a.toml", "[plugins.a2]\nuse = 'echo'\n[plugins.a1]\nuse = 'echo'\n")
        write("conf.d/c.toml.old", "nonsense")
        write("last.toml", "[plugins.z]\nuse = 'echo'\n")
        assert names(read(main)) == ["main", "z", "a2", "a1", "b"]

    def test_names_start_from_the_folder_of_the_file_that_has_them(self, write: Write) -> None:
        main = write("a.toml", "include = ['conf.d/*.toml']\n[plugins.echo]\n")
        included = write("conf.d/b.toml", "[plugins.b]\nuse = 'echo'\n")
        assert [each.folder for each in read(main).instances] == [main.parent, included.parent]

    def test_a_pattern_may_match_nothing(self, write: Write) -> None:
        assert names(read(write("a.toml", "include = ['conf.d/*.toml']\n[plugins.echo]\n"))) == ["echo"]

    def test_the_including_file_may_have_no_plugin_itself(self, write: Write) -> None:
        write("b.toml", "[plugins.echo]\n")
        assert names(read(write("a.toml", "include = ['b.toml']\n"))) == ["echo"]

    def test_all_mistakes_at_once_each_with_its_file(self, write: Write, tmp_path: Path) -> None:
        main = write(
            "a.toml", "include = ['b.toml', 7, 'missing.toml', 'c.toml', 'd.toml']\n[plugins.echo]\nprot = 1\n"
        )
        write("b.toml", "include = ['a.toml']\n[plugins.echo]\n[daemon]\n")
        write("c.toml", "[plugins.c]\nuse = 'echo'\n\nrate = -1\n")
        write("d.toml", "[plugins.d\n")
        assert mistakes(read(main), tmp_path) == [
            "a.toml:1: include[1]: expected a file name, got 7 (an integer)",
            "missing.toml: can't be read: No such file or directory",
            "d.toml:1: is not TOML: Expected ']' at the end of a table declaration (column 11)",
            "b.toml:1: include: only the file that includes this one has it",
            "b.toml:3: daemon: only the file that includes this one has it",
            "a.toml:3: plugins.echo.prot: unknown key; did you mean 'port'?",
            f"b.toml:2: plugins.echo: there is an instance of that name in {main.name} already",
            "c.toml:4: plugins.c.rate: expected a non-negative number, got -1",
        ]

    def test_the_list_must_be_one(self, write: Write, tmp_path: Path) -> None:
        main = write("a.toml", "include = 'b.toml'\n[plugins.echo]\n")
        assert mistakes(read(main), tmp_path) == [
            "a.toml:1: include: expected an array of file names, got 'b.toml' (a string)"
        ]

    def test_what_was_read_can_be_read_elsewhere(self, write: Write) -> None:
        """As a worker does with what its parent read."""
        main = write("a.toml", "include = ['b.toml']\n")
        included = write("b.toml", "[plugins.echo]\n")
        texts = [(source.text, source.file) for source in read(main).sources]
        included.unlink()
        assert names(read_sources([Source.parse(text, file=file) for text, file in texts])) == ["echo"]


class TestEnvironment:
    def read(self, text: str) -> Reading:
        return read_sources([Source.parse(text, file=None)])

    @pytest.fixture(autouse=True)
    def _variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NETWORK", "192.0.2")
        monkeypatch.setenv("EMPTY", "")
        monkeypatch.delenv("UNSET", raising=False)

    def test_variables_stand_in_strings_anywhere(self) -> None:
        text = "[daemon]\nuser = '$${NETWORK}$${EMPTY}'\n[plugins.echo]\n"
        reading = self.read(text + "allow = ['${NETWORK}.0/24', '${NETWORK}.1${EMPTY}/32']\n")
        assert [str(each) for each in reading.instances[0].allow] == ["192.0.2.0/24", "192.0.2.1/32"]
        assert reading.daemon.user == "${NETWORK}${EMPTY}"

    def test_a_dollar_sign_alone_is_one(self) -> None:
        assert self.read("[daemon]\nuser = '$NETWORK $ $$'\n[plugins.echo]\n").daemon.user == "$NETWORK $ $$"

    @pytest.mark.parametrize(
        ("text", "mistake"),
        [
            ("${UNSET}", "the environment variable UNSET is not set; $${ is a plain ${"),
            ("${UNSET}.0/24", "an environment variable in the text is not set; $${ is a plain ${"),
            ("${NOT A NAME}", "${...} names no environment variable; $${ is a plain ${"),
            ("${}", "${...} names no environment variable; $${ is a plain ${"),
        ],
    )
    def test_one_that_is_not_there_is_the_only_mistake_of_its_string(self, text: str, mistake: str) -> None:
        reading = self.read(f"[plugins.echo]\nallow = ['10.0.0.0/8',\n'{text}']\nrate = -1\n")
        assert [str(error) for error in reading.errors] == [
            f"line 3: plugins.echo.allow[1]: {mistake}",
            "line 4: plugins.echo.rate: expected a non-negative number, got -1",
        ]

    def test_no_part_of_a_longer_text_is_quoted(self) -> None:
        """It may be a secret, which only a plugin could tell."""
        reading = self.read("[plugins.dns]\nzones.a = 'b'\ntransfer_keys.k.secret = 'never${UNSET}told${NEVER}'\n")
        message = "an environment variable in the text is not set; $${ is a plain ${"
        assert [str(error) for error in reading.errors] == [f"line 3: plugins.dns.transfer_keys.k.secret: {message}"]


def test_integers_that_toml_has_not() -> None:
    """Its integers have 64 bits; Python writes none of thousands of digits, and reads them in hexadecimal alone."""
    text = f"port = 0x{'f' * 5000}\nmax_pending = {2**63}\nmax_answer = {2**63 - 1}\nallow = [-{2**64}]\n"
    reading = read_sources([Source.parse(f"[plugins.echo]\n{text}", file=None)])
    assert [str(error) for error in reading.errors] == [
        "line 2: plugins.echo.port: is no integer of TOML: it takes more than 64 bits",
        "line 3: plugins.echo.max_pending: is no integer of TOML: it takes more than 64 bits",
        "line 5: plugins.echo.allow[0]: is no integer of TOML: it takes more than 64 bits",
    ]

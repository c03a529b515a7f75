from __future__ import annotations

import posixpath

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.wdl.localization import Layout, Localizer

LAYOUT = Layout("/w/a1/execution")


def test_siblings_stay_together_and_namesakes_apart() -> None:
    localizer = Localizer(LAYOUT)
    bam = localizer.add("s3://b/one/x.bam", False, "bam")
    bai = localizer.add("s3://b/one/x.bam.bai", False, "bai")
    other = localizer.add("s3://b/two/x.bam", False, "other")
    local = localizer.add("/data/x.bam", False, "local")
    assert bam == "/w/a1/inputs/0/x.bam"
    assert bai == "/w/a1/inputs/0/x.bam.bai"
    assert (other, local) == ("/w/a1/inputs/1/x.bam", "/w/a1/inputs/2/x.bam")
    assert localizer.add("s3://b/one/x.bam", False, "again") == bam
    assert [item.name for item in localizer.all] == ["bam", "bai", "other", "local"]


def test_a_path_leads_back_to_its_uri_below_directories_too() -> None:
    localizer = Localizer(LAYOUT)
    reads = localizer.add("s3://b/x.fq", False, "reads")
    directory = localizer.add("s3://b/ref/", True, "ref")
    assert localizer.uri(reads) == "s3://b/x.fq"
    assert localizer.uri(directory) == "s3://b/ref/"
    assert localizer.uri(f"{directory}/deep/genome.fa") == "s3://b/ref/deep/genome.fa"
    assert localizer.uri(f"{directory}x") is None
    assert localizer.uri("/w/a1/inputs/0/other") is None


def test_a_neighbour_of_an_input_has_a_uri() -> None:
    localizer = Localizer(LAYOUT)
    bam = localizer.add("s3://b/one/x.bam", False, "bam")
    assert localizer.sibling(f"{bam}.bai") == "s3://b/one/x.bam.bai"
    assert localizer.sibling("/w/a1/inputs/7/x") is None
    assert localizer.sibling("/w/a1/execution/x") is None


def test_urls_lose_their_query_and_never_meet() -> None:
    localizer = Localizer(LAYOUT)
    paths = [
        localizer.add(f"https://h/d/x.bam?{query}", False, "x") for query in ("sig=1", "sig=2/3")
    ]
    assert [posixpath.basename(path) for path in paths] == ["x.bam", "x.bam"]
    assert paths[0] != paths[1]
    assert [localizer.sibling(f"{path}.bai") for path in paths] == ["https://h/d/x.bam.bai"] * 2


def test_a_file_and_a_directory_of_one_name_never_meet() -> None:
    localizer = Localizer(LAYOUT)
    assert localizer.add("s3://b/x", False, "f") != localizer.add("s3://b/x", True, "d")


def test_paths_are_named_as_manifests_name_them() -> None:
    assert LAYOUT.relative("./a//b") == "a/b"
    assert LAYOUT.relative("/w/a1/execution/a/../c") == "c"
    assert LAYOUT.relative("../inputs/0/x") == "/w/a1/inputs/0/x"
    assert LAYOUT.relative("//tmp/x") == "/tmp/x"
    assert LAYOUT.relative("/w/a1/execution2/x") == "/w/a1/execution2/x"


_PART = st.sampled_from(["a", "b", "..", ".", "", "x.bam", "é ü", "#?%", "s3:"])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["s3://b/", "/", "https://h/", "s3://"]),
            st.lists(_PART, min_size=1, max_size=4).map("/".join),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_no_input_leaves_the_directory_of_inputs_or_lies_on_another(
    uris: list[tuple[str, str, bool]],
) -> None:
    localizer = Localizer(LAYOUT)
    paths: dict[tuple[str, bool], str] = {}
    for head, tail, directory in uris:
        path = localizer.add(head + tail, directory, "x")
        assert posixpath.normpath(path) == path
        assert path.startswith("/w/a1/inputs/")
        paths[head + tail, directory] = path
    assert len(set(paths.values())) == len(paths)
    for (uri, _), path in paths.items():
        assert localizer.uri(path) == uri

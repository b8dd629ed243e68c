"""Which processors a host has, by what its drivers show; and what a grant may hold."""

from __future__ import annotations

import pytest
from drivers import AMD, BUS, FIRST, SECOND, show
from hypothesis import given
from hypothesis import strategies as st

from edgesandbox import Grant, SetupFailed
from edgesandbox.gpus import HIDDEN, Host, choose, find, grant, instance

COMMON = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


@pytest.fixture
def host(tmp_path):
    """A host with drivers."""
    show(tmp_path)
    return Host(tmp_path)


def nodes(granted: Grant) -> tuple[str, ...]:
    return tuple(path for path, _source in granted.devices)


def test_processors_are_found_by_what_their_drivers_show(host):
    """NVIDIA's in the order of the bus, which is nvidia-smi's, then the others."""
    found = find(host)

    assert [(FIRST, "NVIDIA"), (SECOND, "NVIDIA"), (AMD, "AMD")] == [(gpu.uuid, gpu.vendor) for gpu in found]
    assert ("/dev/nvidia1", *COMMON) == found[1].nodes
    assert ("/dev/dri/renderD128", "/dev/kfd") == found[2].nodes


def test_a_host_without_drivers_has_none(tmp_path):
    """And whoever asks for one reads so."""
    assert () == find(Host(tmp_path))
    with pytest.raises(SetupFailed, match=r"^no GPU 0 on this host; found: none$"):
        choose(["0"], Host(tmp_path))


@pytest.mark.parametrize("name", ["1", SECOND])
def test_one_is_chosen_by_index_or_uuid(host, name):
    """The grant has its node, not its neighbour's, and names it by UUID."""
    granted = grant(choose([name], host), host)

    assert ("/dev/nvidia1", *COMMON) == nodes(granted)
    assert {"CUDA_VISIBLE_DEVICES": SECOND, "NVIDIA_VISIBLE_DEVICES": SECOND} == dict(granted.env)
    assert (f"/sys/bus/pci/devices/{BUS[SECOND]}", f"/sys/devices/pci0000:00/{BUS[SECOND]}") in granted.links
    assert BUS[FIRST] not in str(granted)


def test_two_share_what_both_need(host):
    """Once each, in the order asked for."""
    granted = grant(choose(["1", "0"], host), host)

    assert ("/dev/nvidia1", *COMMON, "/dev/nvidia0") == nodes(granted)
    assert f"{SECOND},{FIRST}" == dict(granted.env)["CUDA_VISIBLE_DEVICES"]


def test_an_amd_processor_is_named_to_rocm(host):
    """By its serial number, as ROCm spells it."""
    granted = grant(choose([AMD], host), host)

    assert ("/dev/dri/renderD128", "/dev/kfd") == nodes(granted)
    assert {"ROCR_VISIBLE_DEVICES": AMD} == dict(granted.env)


def test_an_instance_has_the_nodes_of_its_two_capabilities(host):
    """Beside the whole processor's, which alone give nothing on a partitioned one."""
    granted = grant(choose(["1/1/1"], host), host)

    assert ("/dev/nvidia1", *COMMON, "/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap14") == nodes(granted)
    assert f"MIG-{SECOND}/1/1" == dict(granted.env)["CUDA_VISIBLE_DEVICES"]
    assert grant(choose([f"MIG-{SECOND}/1/1"], host), host) == granted


def test_an_instance_is_called_by_its_own_id_where_that_is_known(host):
    """Only NVIDIA's library knows it."""
    uuid = "MIG-5b2e1a3c-0000-1111-2222-333333333333"

    known = instance(find(host)[1], 2, 0, uuid, host=host)

    assert uuid == dict(grant([known], host).env)["CUDA_VISIBLE_DEVICES"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["2", "7"], f"no GPU 7 on this host; found: 0 {FIRST}, 1 {SECOND}, 2 {AMD}"),
        (["GPU-1"], "no GPU GPU-1 on this host"),
        (["-1"], "no GPU -1 on this host"),
        (["1/3/0"], f"GPU {SECOND} has no instance 3/0"),
        (["0/1/0"], f"GPU {FIRST} has no instance 1/0"),
        (["0", FIRST], "GPU 0 is asked for twice"),
    ],
)
def test_what_is_not_here_is_one_line_that_names_it(host, names, said):
    """With what there is to choose from."""
    with pytest.raises(SetupFailed) as problem:
        choose(names, host)

    assert str(problem.value).startswith(said)
    assert "\n" not in str(problem.value)


def test_one_whose_id_the_driver_does_not_know_yet_is_counted(host):
    """What the job can see is its own, so that counting from 0 finds it."""
    path = host.at(f"/proc/driver/nvidia/gpus/{BUS[SECOND]}/information")
    path.write_text(path.read_text().replace(SECOND, "GPU-????????-????-????-????-????????????"))

    granted = grant(choose(["1"], host), host)

    assert "/dev/nvidia1" == nodes(granted)[0]
    assert "0" == dict(granted.env)["CUDA_VISIBLE_DEVICES"]


def test_what_the_driver_garbles_is_passed_over(host):
    """Somebody else's file must not stop the others."""
    host.at(f"/proc/driver/nvidia/gpus/{BUS[FIRST]}/information").write_bytes(b"\xff\xfe no colon\nDevice Minor: x\n")
    host.at("/proc/driver/nvidia-caps/mig-minors").write_text("gpu1/gi1/access\n\nnonsense x\n")

    assert [SECOND, AMD] == [gpu.uuid for gpu in find(host)]
    with pytest.raises(SetupFailed, match="no instance 1/0"):
        choose([f"{SECOND}/1/0"], host)


def test_a_job_without_a_processor_is_told_so():
    """For every variable that a grant may set."""
    assert {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void", "ROCR_VISIBLE_DEVICES": ""} == HIDDEN


@pytest.mark.parametrize(
    "fields",
    [
        {"devices": (("/etc/passwd", "/dev/nvidia0"),)},
        {"devices": (("/dev/../etc/passwd", "/dev/nvidia0"),)},
        {"devices": (("/dev/null", "/dev/nvidia0"),)},
        {"devices": (("/dev/", "/dev/nvidia0"),)},
        {"shown": (("/proc/1", "/sys/module"),)},
        {"links": (("/dev/x", "/y"),)},
        {"devices": tuple((f"/dev/x{n}", "/dev/null") for n in range(201))},
        {"devices": (("/dev/x" + 13_000 * "x", "/dev/null"),)},
    ],
)
def test_a_grant_lands_nowhere_but_below_dev_and_sys(fields):
    """Nothing behind the constructor has to check again."""
    with pytest.raises(ValueError, match="grant"):
        Grant(**fields)


names = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1).filter(
    lambda name: name not in (".", "..", "null", "zero", "full", "random", "urandom", "shm", "fd")
)


@given(
    st.builds(
        Grant,
        devices=st.lists(st.tuples(names.map("/dev/{}".format), st.text())).map(tuple),
        shown=st.lists(st.tuples(names.map("/sys/{}".format), st.text())).map(tuple),
        env=st.lists(st.tuples(st.text(), st.text())).map(tuple),
    )
)
def test_a_grant_survives_the_way_to_the_launcher(granted):
    """to_json and from_json are each other's inverse."""
    assert granted == Grant.from_json(granted.to_json())

"""A run finds its workers in the environment: TF_CONFIG, a SLURM step, a Kubernetes Job."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.test_cli import refused
from tests.test_workers import tf_config
from tfresnet.runtime.errors import InputError
from tfresnet.training import cluster, workers

PAGE = Path(__file__).parent.parent / "docs/tutorials/many-gpus.md"
FILES = PAGE.with_suffix("")


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    for name in ("TF_CONFIG", cluster.STEP, cluster.INDEX, "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def task(monkeypatch, nodes: str, tasks: str, host: str, place: int, **more: str) -> None:
    """Set what ``srun`` sets for one of 3 tasks."""
    step = {"STEP_NODELIST": nodes, "STEP_TASKS_PER_NODE": tasks, "STEP_NUM_TASKS": "3"}
    ids = {"JOB_ID": "4711", "STEP_ID": "0", "PROCID": "0", "LOCALID": str(place)}
    for name, value in (step | ids | more).items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURMD_NODENAME", host)


def test_a_slurm_step_is_a_cluster(monkeypatch):
    """Wherever TensorFlow's resolver sorts n10 before n9, each task finds its own place."""
    expected = ("n10:24220", "n10:24221", "n9:24220")
    for host, place in (("n10", 0), ("n10", 1), ("n9", 0)):
        task(monkeypatch, "n[9-10]", "1,2", host, place)
        cluster.check()
        found = workers.cluster()
        assert found.addresses == expected
        assert found.addresses[found.number] == f"{host}:{24220 + place}"
    task(monkeypatch, "n[1-3]", "1(x3)", "n2", 0, STEP_ID="1")
    assert workers.cluster().addresses == ("n1:24240", "n2:24240", "n3:24240")
    assert workers.cluster().number == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"STEP_NODELIST": "n[1"}, "Invalid hostlist format"),
        ({"STEP_TASKS_PER_NODE": "many"}, "Invalid tasks-per-node"),
        ({"STEP_NUM_TASKS": "5"}, "Requested 5 tasks but only 3"),
        ({"LOCALID": "7"}, "n2:24227 is not in n1:24220,"),
        ({"LOCALID": ""}, "invalid literal"),
    ],
)
def test_slurm_variables_that_do_not_fit_are_refused(monkeypatch, changed, said):
    task(monkeypatch, "n[1-3]", "1(x3)", "n2", 0)
    for name, value in changed.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(InputError, match=f"variables of a SLURM step, got .*{said}"):
        workers.cluster()


def test_a_batch_script_without_srun_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    message = refused("train", "--strategy", "multiworker", "--run-dir", tmp_path / "run")
    assert "expected a step of the SLURM job 4711, got its script; write srun" in message


def test_an_indexed_job_is_a_cluster(monkeypatch):
    monkeypatch.setenv(cluster.INDEX, "1")
    monkeypatch.setattr(socket, "gethostname", lambda: "my-job-1")
    for name, value in ((cluster.WORKERS, "2"), (cluster.SERVICE, "net")):
        with pytest.raises(InputError, match=r"completions of the Job.* in the pod JOB-1, got"):
            workers.cluster()
        monkeypatch.setenv(name, value)
    found = workers.cluster()
    assert (found.addresses, found.number) == (("my-job-0.net:12345", "my-job-1.net:12345"), 1)
    monkeypatch.setenv(cluster.WORKERS, "1")
    with pytest.raises(InputError, match="got '1' and 'net' in my-job-1"):
        workers.cluster()


def test_tf_config_comes_first(monkeypatch):
    task(monkeypatch, "n[1-3]", "1(x3)", "n2", 0)
    monkeypatch.setenv("TF_CONFIG", tf_config(("a:1", "b:2"), 1))
    assert workers.cluster().addresses == ("a:1", "b:2")


def test_the_batch_script_is_complete():
    file = FILES / "slurm.sh"
    subprocess.run(["bash", "-n", file], check=True)
    if shutil.which("sbatch"):
        subprocess.run(["sbatch", "--test-only", file], check=True)
    assert file.read_text() in PAGE.read_text()


def test_the_manifest_is_complete():
    text = (FILES / "kubernetes.yaml").read_text()
    assert text in PAGE.read_text()
    service, job = yaml.safe_load_all(text)
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    variables = {row["name"]: row["value"] for row in worker["env"]}
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert job["spec"]["completionMode"] == "Indexed"
    assert str(job["spec"]["completions"]) == variables[cluster.WORKERS]
    assert job["spec"]["parallelism"] == job["spec"]["completions"]
    assert pod["subdomain"] == variables[cluster.SERVICE] == service["metadata"]["name"]
    assert {v["name"] for v in worker["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert re.search(r"exec tfresnet train .*--strategy multiworker", worker["args"][0])
    subprocess.run(["sh", "-n"], input=worker["args"][0], text=True, check=True)
    validate = pytest.importorskip("kubernetes_validate")  # the schemas, which kubeconform has too
    for document in (service, job):
        validate.validate(document, validate.latest_version(), strict=True)

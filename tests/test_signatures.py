"""Signed folders: what was changed is refused in one line, by ``verify`` and on the device."""

import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("model_signing", reason="needs pip install 'tfresnet[sign]'")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.test_cli import json_of, refused, tfresnet
from tfresnet.deploy.signing import IGNORED_OF_HUB, Signer, Trust
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.signature import SIGNATURE, SignatureError, verify_folder, verify_model

PEM, PLAIN = serialization.Encoding.PEM, serialization.NoEncryption()
MODEL, SPKI = "model_int8.tflite", serialization.PublicFormat.SubjectPublicKeyInfo


def write_key(folder: Path, name: str, curve=None, encryption=PLAIN) -> tuple[Path, Path]:
    """A new private and public key."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(PEM, form, encryption))
    public.write_bytes(key.public_key().public_bytes(PEM, SPKI))
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {name: write_key(folder, name) for name in ("ours", "theirs")}


@pytest.fixture(scope="module")
def whole(exported, tiny_run, tmp_path_factory, keys):
    """A signed copy of an export."""
    folder = tmp_path_factory.mktemp("signed") / "export"
    unwanted = shutil.ignore_patterns("__pycache__", "saved_model*", "features", "*.onnx", "slim")
    shutil.copytree(tiny_run.directory / "export", folder, ignore=unwanted)
    signer = Signer(str(keys["ours"][0]))
    signer.sign(folder / "bundle")
    signer.sign(folder)
    return folder


@pytest.fixture
def signed(whole, tmp_path):
    """Another copy, to be spoilt; under another name."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_statement(folder: Path) -> None:
    """Take a file out of what the signature lists, as one would who has changed it."""
    import base64

    bundle = json.loads((folder / SIGNATURE).read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    statement["predicate"]["resources"].pop()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    (folder / SIGNATURE).write_text(json.dumps(bundle))


def sign_again(folder: Path, keys) -> None:
    Signer(str(keys["theirs"][0])).sign(folder)


def swap(folder: Path, keys) -> None:
    """A good signature of the same key, over something else."""
    other = folder.parent / "other"
    other.mkdir()
    (other / MODEL).write_bytes(b"another model")
    Signer(str(keys["ours"][0])).sign(other)
    shutil.copy(other / SIGNATURE, folder / SIGNATURE)


def cut(folder: Path, keys) -> None:
    path = folder / SIGNATURE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def link(folder: Path, keys) -> None:
    """A file in place of which is a link to the same content elsewhere."""
    elsewhere = shutil.copy(folder / MODEL, folder.parent / MODEL)
    (folder / MODEL).unlink()
    (folder / MODEL).symlink_to(elsewhere)


# What is done to a folder, and what the line about it must have.
ATTACKS = {
    "a byte of the model": (lambda f, k: flip(f / MODEL), f"changed {MODEL}"),
    "a label": (lambda f, k: flip(f / "bundle/native/labels.txt"), "changed bundle/native/labels"),
    "the report": (lambda f, k: flip(f / "report.json"), "changed report.json"),
    "the provenance": (lambda f, k: flip(f / "provenance.json"), "changed provenance.json"),
    "a file more": (lambda f, k: (f / "bundle/numpy.py").write_text(""), "added bundle/numpy.py"),
    "a file less": (lambda f, k: (f / "report.html").unlink(), "without report.html"),
    "another name": (
        lambda f, k: (f / MODEL).rename(f / "model_better.tflite"),
        f"added model_better.tflite; without {MODEL}",
    ),
    "a link": (link, MODEL),
    "another signature of the key": (swap, "got"),
    "the signature of another key": (sign_again, "a signature"),
    "a signature cut short": (cut, "a signature"),
    "the list of files": (lambda f, k: edit_statement(f), "a signature"),
    "no signature": (lambda f, k: (f / SIGNATURE).unlink(), "a signature"),
    "no signature in the file": (lambda f, k: (f / SIGNATURE).write_text("{}"), "a signature"),
}


def test_a_signed_folder_is_accepted_wherever_it_lies(signed, keys, monkeypatch):
    public = keys["ours"][1]
    found = json_of("verify", signed, "--key", public)
    assert (found["verified"], found["trusted"], found["problem"]) == (True, "key", None)
    files = [path for path in signed.rglob("*") if path.is_file()]
    assert found["files"] == len(files) - len({".lock", SIGNATURE} & {p.name for p in files})
    assert found["says"]["preset"] == "quickstart"
    assert verify_folder(signed, public) == Trust(key=public).verify(signed)
    assert json_of("verify", signed / MODEL, "--key", public)["models"] == [MODEL]
    monkeypatch.chdir(signed)
    verify_model(MODEL, public)
    assert "unchanged" in tfresnet("verify", ".", "--key", public).stdout


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_was_changed_is_refused_in_one_line(signed, keys, attack):
    change, told = ATTACKS[attack]
    change(signed, keys)
    result = tfresnet("verify", signed, "--key", keys["ours"][1])
    assert result.exit_code == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Changed: ") and told in line
    found = json.loads(tfresnet("verify", signed, "--key", keys["ours"][1], "--json").stdout)
    assert not found["verified"] and line == f"Changed: {found['problem']}"
    with pytest.raises(SignatureError) as caught:
        verify_folder(signed, keys["ours"][1])
    assert told in str(caught.value) and len(str(caught.value).splitlines()) == 1


def classify(bundle: Path, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "classify.py", MODEL, "sample.png", *map(str, arguments)],
        cwd=bundle, capture_output=True, text=True,
    )  # fmt: skip


def test_the_bundle_refuses_what_was_changed(signed, keys):
    bundle, public = signed / "bundle", keys["ours"][1]
    done = classify(bundle, "--key", public)
    assert done.returncode == 0 and done.stdout.startswith("sample.png: "), done.stderr
    assert not list(bundle.rglob("__pycache__"))  # nothing that was not signed
    flip(bundle / MODEL)
    done = classify(bundle, "--key", public)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: .: expected the files that were signed, got changed {MODEL}\n"


def test_a_model_that_was_not_signed_is_refused_beside_those_that_were(signed, keys):
    (signed / "model.txt").write_text("")
    with pytest.raises(SignatureError, match=r"added model\.txt"):
        verify_model(signed / MODEL, keys["ours"][1])
    (signed / "model.txt").unlink()
    with pytest.raises(SignatureError, match="expected a file that was signed"):
        verify_model(signed / ".lock", keys["ours"][1])


def certificate(folder: Path, name: str, issuer: str, key: Path, by: Path, authority: bool) -> Path:
    """Issue a certificate for ``key``, signed with the private key ``by``."""
    own, signing = (serialization.load_pem_private_key(p.read_bytes(), None) for p in (key, by))
    subjects = [
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in (name, issuer)
    ]
    now = datetime.datetime.now(datetime.timezone.utc)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    built = (
        x509.CertificateBuilder()
        .subject_name(subjects[0])
        .issuer_name(subjects[1])
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority, key_cert_sign=authority, crl_sign=authority,
                **usage,
            ),
            critical=True,
        )
        .sign(signing, hashes.SHA256())
    )  # fmt: skip
    path = folder / f"{name}.pem"
    path.write_bytes(built.public_bytes(PEM))
    return path


def test_certificates_are_trusted_by_their_issuer(signed, keys, tmp_path):
    root, _ = write_key(tmp_path, "root", ec.SECP384R1())
    ours = keys["ours"][0]
    authority = certificate(tmp_path, "authority", "authority", root, root, True)
    own = certificate(tmp_path, "publisher", "authority", ours, root, False)
    stranger = certificate(tmp_path, "stranger", "stranger", keys["theirs"][0],
                           keys["theirs"][0], True)  # fmt: skip
    Signer(str(ours), (own, authority)).sign(signed)
    found = json_of("verify", signed, "--certificate", authority)
    assert (found["verified"], found["trusted"]) == (True, "certificate")
    result = tfresnet("verify", signed, "--certificate", stranger)
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1
    flip(signed / MODEL)
    result = tfresnet("verify", signed, "--certificate", authority)
    assert result.exit_code == 1 and f"changed {MODEL}" in result.stderr
    with pytest.raises(InputError, match="public key from the certificate does not match"):
        Signer(str(keys["theirs"][0]), (own, authority))


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_other_curves_and_encrypted_keys(tmp_path, curve, monkeypatch):
    private, public = write_key(
        tmp_path, "long", curve, serialization.BestAvailableEncryption(b"secret")
    )
    folder = tmp_path / "folder"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "config").write_text("git's own")
    (folder / "a").write_text("a")
    with pytest.raises(InputError, match="--sign: expected a private key"):
        Signer(str(private))
    monkeypatch.setenv("TFRESNET_KEY_PASSWORD", "secret")
    Signer(str(private)).sign(folder, IGNORED_OF_HUB)
    assert verify_folder(folder, public) == Trust(key=public).verify(folder) == ["a"]


def test_keys_that_are_none_get_one_line(signed, tmp_path, keys):
    bad = tmp_path / "bad.pem"
    bad.write_text("no key")
    odd = rsa.generate_private_key(65537, 1024).public_key()
    (tmp_path / "rsa.pub").write_bytes(odd.public_bytes(PEM, SPKI))
    koblitz = write_key(tmp_path, "koblitz", ec.SECP256K1())[1]
    for key in (bad, tmp_path / "none", tmp_path, tmp_path / "rsa.pub", koblitz):
        assert "--key: expected" in refused("verify", signed, "--key", key)
        with pytest.raises(InputError, match="--key: expected"):
            verify_folder(signed, key)
    assert "--certificate: expected" in refused("verify", signed, "--certificate", bad)
    assert "expected one of --key" in refused(
        "verify", signed, "--key", keys["ours"][1], "--certificate", bad
    )
    assert "--identity: expected --issuer" in refused("verify", signed, "--identity", "me")
    assert "does not exist" in refused("verify", tmp_path / "none")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "expected model files or a signed folder" in refused("verify", empty)


def test_without_a_key_checksums_are_looked_at(signed):
    found = json_of("verify", signed)
    assert (found["signed"], found["trusted"]) == (True, None) and MODEL in found["models"]
    flip(signed / MODEL)
    result = tfresnet("verify", signed)
    assert result.exit_code == 1 and "expected the bytes that tfresnet wrote" in result.stderr


def test_export_signs_its_folder_and_its_bundle(run_copy, keys, tmp_path):
    private, public = keys["ours"]
    words = ("export", run_copy, "--tflite", "--quantize", "float32", "--verify-images", 20,
             "--max-drop", 100)  # fmt: skip
    assert "--sign: expected a private key" in refused(*words, "--sign", public)
    result = tfresnet(*words, "--sign", private, "--hub-folder", tmp_path / "hub")
    assert result.exit_code == 0, result.stderr
    assert "tfresnet verify" in result.stdout.splitlines()[-1]
    for folder in (run_copy, run_copy / "export" / "bundle", tmp_path / "hub"):
        assert json_of("verify", folder, "--key", public)["verified"]
    made_of = json.loads((run_copy / "export" / "provenance.json").read_text())
    assert made_of["dependencies"]["tensorflow"] and len(made_of["code_sha256"]) == 64
    assert {"config.yaml", "metrics.jsonl", "environment.json", "result"} <= {*made_of["record"]}
    assert made_of["data"]["held_out"]["n"] == 20
    assert os.path.basename(str(run_copy)) not in json.dumps(made_of)

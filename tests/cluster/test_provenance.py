from tfstiff.cluster.provenance import provenance


def test_of_the_environment_only_what_bears_on_the_computation(monkeypatch):
    kept = {"TF_DETERMINISTIC_OPS": "1", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "0"}
    secret = {"TF_VAR_password": "x", "TF_TOKEN_app_terraform_io": "x", "TF_CLI_ARGS": "x", "SOME_TOKEN": "x"}
    for name, value in (kept | secret).items():
        monkeypatch.setenv(name, value)
    found = provenance()["environment"]
    assert kept.items() <= found.items()
    assert not secret.keys() & found.keys()

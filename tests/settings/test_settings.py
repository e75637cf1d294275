"""Settings: what is read, and what is said when it can't be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address

from millpond.settings import (
    SETTINGS,
    ChainSettings,
    HealthSettings,
    KafkaSettings,
    LivepeerSettings,
    LogSettings,
    PoolSettings,
    PostgresSettings,
    Settings,
    SettingsInvalid,
    StreamSettings,
    TelemetrySettings,
    load,
    unknown_variables,
    variables,
)

OPERATORS = [to_checksum_address("0x" + digit * 40) for digit in "ab"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("MILLPOND_", "OTEL_")):
            monkeypatch.delenv(name)


def problems_of(kind: type[Settings]) -> str:
    with pytest.raises(SettingsInvalid) as invalid:
        load(kind)
    assert "`millpond settings`" in str(invalid.value)
    return str(invalid.value.facts["problems"])


# Where the chain is, which pool this is, and where its database lies, nobody can guess.
NO_DEFAULT = (ChainSettings, LivepeerSettings, PoolSettings, PostgresSettings)


@pytest.mark.parametrize("kind", [kind for kind in SETTINGS if kind not in NO_DEFAULT])
def test_a_laptop_needs_no_settings(kind: type[Settings]) -> None:
    load(kind)


def test_the_defaults_are_those_of_the_protocol() -> None:
    stream = load(StreamSettings)
    assert (stream.batch_records_max, stream.lease_s) == (500, 2.5)


def test_each_variable_is_read_under_the_name_that_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = {
        "MILLPOND_POOL_ID": "pond",
        "MILLPOND_POOL_OPERATORS": ",".join(OPERATORS),
        "MILLPOND_KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2",
        "MILLPOND_KAFKA_SECURITY_PROTOCOL": "SSL",
        "MILLPOND_KAFKA_SASL_MECHANISM": "PLAIN",
        "MILLPOND_POSTGRES_DSN": "postgresql://x@y/z",
        "MILLPOND_CHAIN_RPC_URL": "https://x/key",
        "MILLPOND_CHAIN_PAYOUTS": OPERATORS[0],
        "MILLPOND_CHAIN_CONTROLLER": OPERATORS[0],
        "MILLPOND_CHAIN_ORCHESTRATOR": OPERATORS[1],
        "MILLPOND_STREAM_LEASE_S": "2",
        "MILLPOND_HEALTH_HOST": "0.0.0.0",
        "MILLPOND_LOG_LEVEL": "DEBUG",
        "MILLPOND_LOG_FORMAT": "json",
        "MILLPOND_TELEMETRY_OTLP_ENDPOINT": "http://x:4318",
    }
    for kind in SETTINGS:
        for variable in variables(kind):
            number = "0.25" if variable.name.endswith(("_S", "_RATIO")) else "7"
            monkeypatch.setenv(variable.name, samples.get(variable.name, number))
    for kind in SETTINGS:
        read = load(kind)
        assert read.model_fields_set == set(kind.model_fields), kind


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLPOND_HEALTH_PORT", "")
    assert load(HealthSettings).port == 8080


def test_a_wrong_value_is_named_with_its_variable_its_value_and_its_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLPOND_HEALTH_PORT", "808O")
    problems = problems_of(HealthSettings)
    assert "MILLPOND_HEALTH_PORT is '808O'" in problems
    assert "Port to listen on" in problems


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLPOND_LOG_LEVEL", "LOUD")
    monkeypatch.setenv("MILLPOND_LOG_FORMAT", "xml")
    assert problems_of(LogSettings).count("\n") == 1


def test_a_missing_variable_says_what_to_put_there() -> None:
    assert "MILLPOND_POSTGRES_DSN is not set. Set it: postgresql://" in problems_of(PostgresSettings)


@pytest.mark.parametrize("dsn", ["mysql://pond:hunter2@db/pond", "hunter2"])
def test_no_error_tells_a_secret(monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    monkeypatch.setenv("MILLPOND_POSTGRES_DSN", dsn)
    with pytest.raises(SettingsInvalid) as invalid:
        load(PostgresSettings)
    assert "MILLPOND_POSTGRES_DSN is ********" in str(invalid.value)
    assert "hunter2" not in f"{invalid.value!r} {invalid.value.facts} {invalid.value.__cause__!r}"


def test_settings_print_without_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLPOND_POSTGRES_DSN", "postgresql://pond:hunter2@db/pond")
    assert "hunter2" not in repr(load(PostgresSettings))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(HealthSettings).port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("MILLPOND_STREAM_LEASE_S", "3.5", "Set it below 3.5"),
        ("MILLPOND_STREAM_RENEW_EVERY_S", "1", "Set it to 0.83 or less"),
    ],
)
def test_a_standby_takes_over_in_time(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, remedy: str) -> None:
    monkeypatch.setenv(variable, value)
    problems = problems_of(StreamSettings)
    assert variable in problems
    assert remedy in problems


@pytest.mark.parametrize("servers", ["localhost", "a:1,b", "http://a:1", "a:1, b:2", "a:1;b:2"])
def test_brokers_are_host_and_port(monkeypatch: pytest.MonkeyPatch, servers: str) -> None:
    monkeypatch.setenv("MILLPOND_KAFKA_BOOTSTRAP_SERVERS", servers)
    assert f"MILLPOND_KAFKA_BOOTSTRAP_SERVERS is '{servers}'" in problems_of(KafkaSettings)


def test_sasl_needs_a_user_and_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLPOND_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("MILLPOND_KAFKA_SASL_USERNAME", "metering")
    assert "MILLPOND_KAFKA_SASL_PASSWORD" in problems_of(KafkaSettings)


def test_plain_kafka_needs_only_brokers() -> None:
    options = KafkaSettings(bootstrap_servers="a:1,[::1]:2").client_options()
    assert options == {"bootstrap_servers": ["a:1", "[::1]:2"], "security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_faststream_connects_as_aiokafka_does(monkeypatch: pytest.MonkeyPatch, protocol: str, mechanism: str) -> None:
    from faststream.kafka.security import parse_security

    monkeypatch.setenv("MILLPOND_KAFKA_SECURITY_PROTOCOL", protocol)
    monkeypatch.setenv("MILLPOND_KAFKA_SASL_MECHANISM", mechanism)
    monkeypatch.setenv("MILLPOND_KAFKA_SASL_USERNAME", "metering")
    monkeypatch.setenv("MILLPOND_KAFKA_SASL_PASSWORD", "hunter2")
    kafka = load(KafkaSettings)
    ours = kafka.client_options()
    theirs = parse_security(kafka.broker_security())
    del ours["bootstrap_servers"]
    assert (ours.pop("ssl_context", None) is None) == (theirs.pop("ssl_context") is None) == (not kafka.uses_tls)
    assert ours == theirs


def test_tls_checks_the_brokers_name_and_a_missing_file_is_not_passed_over() -> None:
    assert KafkaSettings(security_protocol="SSL").ssl_context().check_hostname
    with pytest.raises(FileNotFoundError):
        KafkaSettings(security_protocol="SSL", ssl_ca_file=Path("/nowhere.pem")).client_options()


def test_operators_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLPOND_POOL_ID", "pond")
    monkeypatch.setenv("MILLPOND_POOL_OPERATORS", ", ".join(OPERATORS))
    assert load(PoolSettings).operators == tuple(OPERATORS)


@pytest.mark.parametrize(
    ("spell", "says"),
    [
        (str.lower, f"with it: {OPERATORS[0]}"),
        (lambda address: address[:-1], "is no address"),
        (lambda address: address.swapcase().replace("0X", "0x"), "lacks a valid checksum"),
    ],
    ids=["lower case", "too short", "wrong checksum"],
)
def test_an_operator_is_an_address_with_its_checksum(monkeypatch: pytest.MonkeyPatch, spell: object, says: str) -> None:
    assert callable(spell)
    monkeypatch.setenv("MILLPOND_POOL_ID", "pond")
    monkeypatch.setenv("MILLPOND_POOL_OPERATORS", spell(OPERATORS[0]))
    assert says in problems_of(PoolSettings)


def test_a_wrong_checksum_is_not_corrected_for_whoever_mistyped_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLPOND_POOL_ID", "pond")
    monkeypatch.setenv("MILLPOND_POOL_OPERATORS", OPERATORS[0][:-1] + "b")
    assert "with it" not in problems_of(PoolSettings)


def test_the_usual_variable_of_opentelemetry_is_honoured_and_ours_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://theirs:4318")
    assert load(TelemetrySettings).otlp_endpoint == "http://theirs:4318"
    monkeypatch.setenv("MILLPOND_TELEMETRY_OTLP_ENDPOINT", "http://ours:4318")
    assert load(TelemetrySettings).otlp_endpoint == "http://ours:4318"


def test_a_wrong_value_is_blamed_on_the_variable_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "theirs:4318")
    assert problems_of(TelemetrySettings).startswith("- OTEL_EXPORTER_OTLP_ENDPOINT is 'theirs:4318'")


def test_a_misspelt_variable_is_told_its_nearest_name() -> None:
    environ = {"MILLPOND_KAFKA_BOOTSTRAP_SERVER": "a:1", "MILLPOND_QQQ": "1", "PATH": "/bin"}
    assert unknown_variables(SETTINGS, environ) == {
        "MILLPOND_KAFKA_BOOTSTRAP_SERVER": "MILLPOND_KAFKA_BOOTSTRAP_SERVERS",
        "MILLPOND_QQQ": None,
    }


def test_what_kubernetes_says_of_its_services_is_no_misspelling() -> None:
    links = {
        "MILLPOND_EDGE_SERVICE_HOST": "10.0.0.1",
        "MILLPOND_EDGE_SERVICE_PORT_HTTP": "80",
        "MILLPOND_EDGE_PORT": "tcp://10.0.0.1:80",
        "MILLPOND_EDGE_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert unknown_variables(SETTINGS, links | {"MILLPOND_HELTH_PORT": "80"}) == {
        "MILLPOND_HELTH_PORT": "MILLPOND_HEALTH_PORT"
    }


def test_every_setting_says_what_it_means_and_who_reads_it() -> None:
    listed = [variable for kind in SETTINGS for variable in variables(kind)]
    assert len({variable.name for variable in listed}) == len(listed)
    for variable in listed:
        assert variable.meaning.endswith("."), variable.name
        assert variable.used_by, variable.name


def test_every_class_of_settings_of_the_libraries_is_in_the_registry() -> None:
    # Services have settings of their own, and another test may have imported them by now.
    assert {kind for kind in Settings.__subclasses__() if kind.__module__.startswith("millpond.")} == set(SETTINGS)

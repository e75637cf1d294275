"""How to reach Kafka."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings

if TYPE_CHECKING:
    from faststream.security import BaseSecurity

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

# host:port, several separated by commas; an IPv6 address in brackets.
_SERVERS: Final = r"^(?:\[[0-9a-fA-F:]+\]|[^\s,:\[\]]+):\d{1,5}(?:,(?:\[[0-9a-fA-F:]+\]|[^\s,:\[\]]+):\d{1,5})*$"


class KafkaSettings(Settings):
    """Each program has a Kafka user of its own: the brokers' ACLs hold what the topic table says."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_KAFKA_")
    used_by: ClassVar[str] = "every program"

    bootstrap_servers: str = Field(
        default="localhost:9092", pattern=_SERVERS, description="Brokers to ask first: host:port, separated by commas."
    )
    security_protocol: SecurityProtocol = Field(
        default="PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL, as the brokers' listener says."
    )
    sasl_mechanism: SaslMechanism = Field(
        default="SCRAM-SHA-512", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. Read with SASL_* only."
    )
    sasl_username: str | None = Field(default=None, description="This program's Kafka user. Needed with SASL_*.")
    sasl_password: SecretStr | None = Field(default=None, description="That user's password. Needed with SASL_*.")
    ssl_ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authority that signed the brokers' certificates; unset: the system's.",
    )
    ssl_certificate_file: Path | None = Field(
        default=None, description="PEM file of this program's certificate, for brokers that ask for one."
    )
    ssl_key_file: Path | None = Field(
        default=None, description="PEM file of that certificate's key; unset: it is in the certificate's file."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.uses_sasl and not (self.sasl_username and self.sasl_password):
            raise ValueError(
                f"MILLPOND_KAFKA_SECURITY_PROTOCOL is {self.security_protocol}, which needs both "
                "MILLPOND_KAFKA_SASL_USERNAME and MILLPOND_KAFKA_SASL_PASSWORD. Set them, or use PLAINTEXT or SSL"
            )
        if self.ssl_key_file and not self.ssl_certificate_file:
            raise ValueError("MILLPOND_KAFKA_SSL_KEY_FILE needs MILLPOND_KAFKA_SSL_CERTIFICATE_FILE. Set it too")
        return self

    @property
    def uses_tls(self) -> bool:
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def uses_sasl(self) -> bool:
        return self.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments of every aiokafka client. Reads the certificates: raises ``OSError`` or ``ssl.SSLError``."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "security_protocol": self.security_protocol,
        }
        if self.uses_tls:
            options["ssl_context"] = self.ssl_context()
        if self.uses_sasl:
            assert self.sasl_password is not None  # _is_whole
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password.get_secret_value()
        return options

    def broker_security(self) -> BaseSecurity:
        """The same for FastStream's ``KafkaBroker(security=…)``. Raises ``OSError`` or ``ssl.SSLError``."""
        # Only programs with a broker pay for FastStream's import; `millpond settings` doesn't.
        from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

        context = self.ssl_context() if self.uses_tls else None
        if not self.uses_sasl:
            return BaseSecurity(ssl_context=context, use_ssl=self.uses_tls)
        assert self.sasl_username is not None  # _is_whole
        assert self.sasl_password is not None
        mechanisms: dict[SaslMechanism, type[SASLPlaintext | SASLScram256 | SASLScram512]] = {
            "PLAIN": SASLPlaintext,
            "SCRAM-SHA-256": SASLScram256,
            "SCRAM-SHA-512": SASLScram512,
        }
        return mechanisms[self.sasl_mechanism](
            username=self.sasl_username,
            password=self.sasl_password.get_secret_value(),
            ssl_context=context,
            use_ssl=self.uses_tls,
        )

    def ssl_context(self) -> ssl.SSLContext:
        """TLS that checks the broker's certificate and name; there is no setting to switch that off."""
        context = ssl.create_default_context(cafile=self.ssl_ca_file)
        if self.ssl_certificate_file:
            context.load_cert_chain(self.ssl_certificate_file, self.ssl_key_file)
        return context

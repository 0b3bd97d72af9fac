"""Names of the environment variables by which somebody acts as the server that started a process."""

from __future__ import annotations

# No kernel and no slice has any business with these: whoever has one may act for its server, or its hub user.
CREDENTIALS = (
    "JUPYTER_TOKEN",
    "JUPYTER_TOKEN_FILE",
    "JPY_API_TOKEN",
    "JUPYTERHUB_API_TOKEN",
    "JUPYTERHUB_CRYPT_KEY",
    "CONFIGPROXY_AUTH_TOKEN",
    "JUPYTER_GATEWAY_AUTH_TOKEN",
    "AIOS_TOKEN",
)

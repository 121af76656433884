"""The gateway loads uvicorn without its command line, and takes nothing from whoever loads it after."""

import subprocess
import sys


def test_the_package_has_its_server_after_the_gateway_has_been_loaded():
    code = (
        "import tawny.gateway.uvicorn, uvicorn; "
        "assert uvicorn.Server.__name__ == 'Server'; import tawny.channels.telegram.webhook"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""The one door for devices: HTTP, WebSocket, the panel."""

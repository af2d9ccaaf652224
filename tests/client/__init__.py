"""The pure parts and the client, without any server of ours."""

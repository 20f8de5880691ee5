//! Real adapters behind the ports of `layerplay_modules`: shells by SSH and on this machine.

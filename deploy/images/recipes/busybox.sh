# One static program with some hundred names, for tests.
packages_busybox="busybox-static"
layer_busybox() {
    applets "$1"
    accounts "$1"
}
layers_busybox="busybox"
config_busybox="\"Env\":[\"$path\"],\"Cmd\":[\"sh\"]"

# The C library and a shell: the lowest layer of the images that are not static.
packages_base="libc6 busybox-static"
layer_base() {
    lib=$1/usr/lib/$(triplet)
    # What programs load at run time; not the auditing, profiling and thread debugging ones.
    rm -rf "$lib/audit" "$lib"/libmemusage.so "$lib"/libpcprofile.so "$lib"/libthread_db.so* \
        "$lib"/libnsl.so* "$lib"/libnss_compat.so* "$lib"/libnss_hesiod.so* "$lib"/libSegFault.so \
        "$1/etc/ld.so.conf.d"
    applets "$1"
    accounts "$1"
}

# applets DIR: every command of busybox beside it.
applets() {
    [ -x "$1/usr/bin/busybox" ] || fail "busybox is not where it should be"
    "$1/usr/bin/busybox" --list | while read -r applet; do
        case $applet in busybox | dpkg | dpkg-deb | rpm | rpm2cpio | init | linuxrc) continue ;; esac
        [ -e "$1/usr/bin/$applet" ] || ln -s busybox "$1/usr/bin/$applet"
    done
}

# accounts DIR [LINE-OF-PASSWD...]: /etc/passwd, /etc/group and the directories everybody expects.
accounts() {
    dir=$1
    shift
    mkdir -p "$dir/etc" "$dir/root" "$dir/run" "$dir/var" "$dir/proc" "$dir/sys" "$dir/dev"
    mkdir -p -m 1777 "$dir/tmp" "$dir/var/tmp"
    chmod 1777 "$dir/tmp" "$dir/var/tmp"
    chmod 700 "$dir/root"
    [ -e "$dir/var/run" ] || ln -s /run "$dir/var/run"
    printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin' \
        'redis:x:999:999:redis:/data:/usr/sbin/nologin' \
        'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin' >"$dir/etc/passwd"
    printf '%s\n' 'root:x:0:' 'tty:x:5:' 'www-data:x:33:' 'redis:x:999:' 'nogroup:x:65534:' >"$dir/etc/group"
    printf 'hosts: files dns\n' >"$dir/etc/nsswitch.conf"
}
path='PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

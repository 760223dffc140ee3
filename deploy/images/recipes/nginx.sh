# nginx: serves /usr/share/nginx/html and whatever /etc/nginx/conf.d/*.conf says. The default site is
# conf.d/default.conf, for a config of the app to be put in its place. Logs go to stdout and stderr.
packages_nginx="nginx nginx-common libcrypt1 libpcre2-8-0 libssl3 zlib1g"
layer_nginx() {
    rm -rf "$1/etc/nginx/sites-available" "$1/etc/nginx/sites-enabled" "$1/etc/nginx/snippets" \
        "$1/etc/nginx/modules-enabled" "$1/etc/nginx/modules-available" "$1/var/www" "$1/usr/share/vim" \
        "$1/usr/share/apport" "$1/usr/lib/$(triplet)/engines-3" "$1/usr/lib/$(triplet)/ossl-modules"
    mkdir -p "$1/etc/nginx/conf.d" "$1/var/lib/nginx" "$1/var/log/nginx" "$1/usr/share/nginx/html"
    cat >"$1/etc/nginx/nginx.conf" <<'CONF'
user www-data;
worker_processes 2;
pid /run/nginx.pid;
error_log stderr notice;
events {
    worker_connections 1024;
}
http {
    include mime.types;
    default_type application/octet-stream;
    access_log /dev/stdout;
    sendfile on;
    server_tokens off;
    keepalive_timeout 65;
    include conf.d/*.conf;
}
CONF
    cat >"$1/etc/nginx/conf.d/default.conf" <<'CONF'
server {
    listen 80 default_server;
    root /usr/share/nginx/html;
    index index.html;
}
CONF
    cat >"$1/usr/share/nginx/html/index.html" <<'HTML'
<!doctype html><title>nginx</title><h1>nginx</h1><p>It serves. Put your site here.</p>
HTML
}
layers_nginx="base nginx"
config_nginx="\"Env\":[\"$path\"],\"Entrypoint\":[\"nginx\"],\"Cmd\":[\"-g\",\"daemon off;\"],\"ExposedPorts\":{\"80/tcp\":{}},\"StopSignal\":\"SIGQUIT\""

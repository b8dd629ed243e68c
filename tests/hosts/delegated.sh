#!/bin/sh
# delegated.sh USER COMMAND...: run a command as systemd runs a service with User=USER and Delegate=yes, in a new cgroup
# that belongs to the user and holds nothing but the command.  For root on cgroup v2.
user=$1
shift
group=$(mktemp --directory /sys/fs/cgroup/service-XXXXXX) || exit 125
chmod 755 "$group"
chown "$user:" "$group"
while read -r file; do
    [ ! -e "$group/$file" ] || chown "$user:" "$group/$file"
done < /sys/kernel/cgroup/delegate
echo 0 > "$group/cgroup.procs" || exit 125
exec setpriv --reuid "$user" --regid "$user" --init-groups env HOME="/home/$user" "$@"

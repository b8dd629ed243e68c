#!/bin/sh
# The guest's PID 1: sets up what systemd would, runs the tests as root and as an ordinary user, and turns the machine off.
# Pure cgroup v2: nothing here or on the kernel's command line mounts a v1 controller.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb
cgroups=/sys/fs/cgroup
mount -o remount,rw /
mount -t cgroup2 cgroup2 $cgroups
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /dev/shm && mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t securityfs securityfs /sys/kernel/security
ip link set lo up
hostname guest
echo "+cpu +memory +pids" > $cgroups/cgroup.subtree_control

# run CGROUP USER COMMAND...: as systemd starts a service of that user with Delegate=yes.
run() {
    group=$cgroups/$1
    user=$2
    shift 2
    mkdir "$group"
    chown "$user:" "$group"
    while read -r file; do
        [ ! -e "$group/$file" ] || chown "$user:" "$group/$file"
    done < /sys/kernel/cgroup/delegate
    sh -c 'echo $$ > "$0/cgroup.procs" && exec "$@"' "$group" \
        setpriv --reuid "$user" --regid "$user" --init-groups --reset-env "$@"
}

inside="python3 /project/tests/hosts/inside.py"
uname -sr
cat $cgroups/cgroup.controllers
run root-service root $inside --name root --least B
run user-service agent $inside --name user --least B
# Not delegated: what an ordinary user has who simply logs in.
setpriv --reuid agent --regid agent --init-groups --reset-env $inside --name undelegated --least B --check-only
echo o > /proc/sysrq-trigger
sleep 60

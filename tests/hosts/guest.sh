#!/bin/sh
# The guest's PID 1: sets up what systemd would, runs the tests as root or as an ordinary user, and turns the machine off.
# Pure cgroup v2: nothing here or on the kernel's command line mounts a v1 controller.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /dev/shm && mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t securityfs securityfs /sys/kernel/security
ip link set lo up
hostname guest
echo "up since $(cut -d ' ' -f 1 /proc/uptime) s"
echo "+cpu +memory +pids" > /sys/fs/cgroup/cgroup.subtree_control

# inside NAME --tier TIER [OPTION...] [-- COMMAND...]: run inside.py, each line of its output marked with the name.
inside() {
    python3 /project/tests/hosts/inside.py --name "$@" 2>&1 | sed -u "s/^/$1| /"
}

export EDGESANDBOX_TEST_JOBS=20 # each takes ten to thirty times what it takes on a processor
delegated="sh /project/tests/hosts/delegated.sh"
case " $(cat /proc/cmdline) " in
*" sandbox_tests=root "*) inside root --tier A --enforced cgroup_devices -- $delegated root ;;
*" sandbox_tests=user "*) inside user --tier A -- $delegated agent ;;
esac
echo o > /proc/sysrq-trigger
sleep 60

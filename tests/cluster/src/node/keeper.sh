# Keeps the namespaces of one ring, and removes what outlives them: the groups of its processes and its folder. It runs outside, until
# its standard input ends, which the kernel sees to when the harness dies, also by kill -9.
# $1 the folder, $2 the name of the groups, $3... what runs first inside
exec 3<&0 </dev/null
folder=$1 name=$2
shift 2
for parent in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    parent=${parent%/}
    [ -e "$parent/cgroup.procs" ] && [ ! -L "$parent" ] || continue
    # The second hierarchy of a hybrid machine has no controllers, and kubelet does not look at it.
    [ "${parent##*/}" = unified ] && continue
    # A folder of the only hierarchy that is somebody's group.
    [ "$parent" != /sys/fs/cgroup ] && [ -e /sys/fs/cgroup/cgroup.controllers ] && continue
    mkdir -p "$parent/$name"
    for file in cpuset.cpus cpuset.mems; do
        [ ! -e "$parent/$file" ] || cat "$parent/$file" >"$parent/$name/$file"
    done
done
# The death of this shell is that of the first process, and its death is that of all others.
setpriv --pdeathsig KILL unshare --net --mount --pid --fork --mount-proc --kill-child "$@" &
unshare=$!
echo "$unshare" >"$folder/.pid" && mv "$folder/.pid" "$folder/pid"
(
    cat <&3 >/dev/null
    # The first process, not unshare: unshare waits for its end, and so it is known when everything is gone.
    first=$(cat "/proc/$unshare/task/$unshare/children")
    kill -KILL ${first:-$unshare}
) >/dev/null 2>&1 &
wait "$unshare"
find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "$name" | while read -r group; do
    find "$group" -depth -type d -exec rmdir {} \;
done
rm -rf "$folder"

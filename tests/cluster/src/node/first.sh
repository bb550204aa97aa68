# Makes a machine of its own out of fresh namespaces, then waits and reaps as their first process.
# $1 the folder, $2 the node's address, $3 the program that waits
set -eu
folder=$1 address=$2 wait=$3
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
# What is written here stays in the ring; what is there stays visible.
for path in /var/lib /var/log; do
    own="$folder/own$path"
    mkdir -p "$own/upper" "$own/work"
    mount -t overlay overlay -o "lowerdir=$path,upperdir=$own/upper,workdir=$own/work" "$path"
done
mkdir -p "$folder/kubelet" /var/lib/kubelet
mount --bind "$folder/kubelet" /var/lib/kubelet
# kubelet sets these for the whole kernel. It shall believe that it did.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file="/proc/sys/${setting%=*}"
    [ -e "$file" ] || continue
    own="$folder/sysctl.$(basename "$file")"
    echo "${setting#*=}" >"$own"
    mount --bind "$own" "$file"
done
# There may be no dummy device in the kernel; one end of a pair carries the address as well.
ip link set lo up
ip link add n0 type veth peer name n1
ip address add "$address/24" dev n0
ip link set n0 up
ip link set n1 up
ip route add default dev n0
echo 1 >/proc/sys/net/ipv4/ip_forward
: >"$folder/up"
exec "$wait"

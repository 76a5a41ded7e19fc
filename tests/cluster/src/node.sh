# A node on the host's kernel. Runs itself three times, each deeper in namespaces:
#
#   bash node.sh join NODE    as root in the cluster's process and mount namespaces: makes the node's control groups
#   bash node.sh enter NODE   in the node's cgroup namespace: takes the others
#   bash node.sh boot NODE    as the first process of the node: mounts, and starts containerd, kubelet and kube-proxy
#
# Environment: GROUP, the node's control group below each hierarchy's root; PLACE, the node's folder on the host; PROGRAMS, the
# folder with kubelet and kube-proxy; ADDRESS, the node's own; IMAGES, a folder with archives of images.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
readonly step=$1 node=$2

# Calls "$1 MOUNT-POINT TYPE OPTIONS" for every hierarchy of control groups, be it version 1, 2 or both.
hierarchies() {
  local all point type options
  # Read before anything is called: no child is to be in a group that it leaves.
  all=$(sed -nE 's|^[0-9]+ [0-9]+ [^ ]+ [^ ]+ ([^ ]+) .* - (cgroup2?) [^ ]+ ([^ ]+)$|\1 \2 \3|p' /proc/self/mountinfo)
  while read -r point type options; do
    "$1" "$point" "$type" "$options"
  done <<<"$all"
}

# Lets the children of a group of version 2 have what it has. Beside version 1 it has nothing that a kubelet wants.
delegate() {
  local controller
  [ "$1" = /sys/fs/cgroup ] || return 0
  for controller in $(<"$1$2/cgroup.controllers"); do
    grep -qw "$controller" "$1$2/cgroup.subtree_control" || echo "+$controller" >"$1$2/cgroup.subtree_control"
  done
}

make_group() {
  local path="" part file
  [ "$2" = cgroup ] || delegate "$1" ""
  for part in ${GROUP//\// }; do
    path+=/$part
    mkdir -p "$1$path"
    # A new cpuset is empty, and takes no process.
    for file in cpuset.cpus cpuset.mems; do
      [ "$2" = cgroup2 ] || ! [ -e "$1$path/$file" ] || cat "$1${path%/*}/$file" >"$1$path/$file"
    done
    # A group of version 2 that delegates may hold no process itself.
    [ "$2" = cgroup ] || [ "$path" = "/$GROUP" ] || delegate "$1" "$path"
  done
  echo $$ >"$1/$GROUP/cgroup.procs"
}

# What is not a pod, as systemd's slice of that name has it.
leave_group() {
  local file
  mkdir -p "$1/$GROUP/system"
  for file in cpuset.cpus cpuset.mems; do
    [ "$2" = cgroup2 ] || ! [ -e "$1/$GROUP/$file" ] || cat "$1/$GROUP/$file" >"$1/$GROUP/system/$file"
  done
  echo $$ >"$1/$GROUP/system/cgroup.procs"
  [ "$2" = cgroup ] || delegate "$1" "/$GROUP"
}

# Remembers the hierarchies before /sys is another.
note_group() { echo "$*"; }

# Mounts a hierarchy as the node's namespace has it, by its controllers or its name.
mount_group() {
  local point=$1 controllers="" option
  mkdir -p "$point"
  if [ "$2" = cgroup2 ]; then
    mount -t cgroup2 cgroup "$point"
    return
  fi
  for option in ${3//,/ }; do
    case $option in
      rw | ro | xattr | clone_children | release_agent=*) ;;
      name=*) mount -t cgroup -o "none,$option" cgroup "$point" ;;
      *) controllers+=,$option ;;
    esac
  done
  [ -n "$controllers" ] || return 0
  mount -t cgroup -o "${controllers#,}" cgroup "$point"
  # Controllers that share a hierarchy are looked for by the name of each.
  for option in ${controllers//,/ }; do
    [ -e "${point%/*}/$option" ] || ln -s "${point##*/}" "${point%/*}/$option"
  done
}

mounts() {
  local groups setting
  # From here on what is mounted reaches the pods' mounts that want it, and nothing outside.
  mount --make-rshared /
  groups=$(hierarchies note_group)
  mount -t sysfs sysfs /sys
  [ "${groups%% *}" = /sys/fs/cgroup ] || mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  while read -r line; do
    # shellcheck disable=SC2086 # three words
    mount_group $line
  done <<<"$groups"

  mount -t tmpfs -o mode=755 run /run
  mkdir -p /run/bin /run/kubernetes /run/images /run/lock "$PLACE"/var/{cache,lib,log,tmp}
  ln -sfn /run "$PLACE/var/run"
  mount --bind "$PROGRAMS" /run/bin
  mount --bind "$PLACE/kubernetes" /run/kubernetes
  mount --bind "$IMAGES" /run/images
  mount --bind "$PLACE/var" /var

  # The kubelet wants these values of the whole machine: it finds them, and sets nothing.
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    [ -e "/proc/sys/${setting%=*}" ] || continue
    mkdir -p "/run/sysctl/$(dirname "$setting")"
    echo "${setting#*=}" >"/run/sysctl/${setting%=*}"
    mount --bind "/run/sysctl/${setting%=*}" "/proc/sys/${setting%=*}"
  done
}

# serve NAME COMMAND...: starts it again when it ends, as an init would.
serve() {
  local name=$1
  shift
  while :; do
    "$@" >>"/var/log/$name.log" 2>&1 </dev/null || true
    echo "$name ended"
    sleep 1
  done
}

boot() {
  local image
  mounts
  echo "$node" >/proc/sys/kernel/hostname
  echo 1 >/proc/sys/net/ipv4/ip_forward
  cd /
  serve containerd containerd --config /run/kubernetes/containerd.toml &
  until ctr version >/dev/null 2>&1; do sleep 0.05; done
  for image in /run/images/*.tar; do
    [ ! -e "$image" ] || ctr -n k8s.io images import "$image"
  done
  serve kubelet /run/bin/kubelet --config=/run/kubernetes/kubelet.json --kubeconfig=/run/kubernetes/kubelet.kubeconfig \
    --hostname-override="$node" --node-ip="$ADDRESS" &
  serve kube-proxy /run/bin/kube-proxy --config=/run/kubernetes/kube-proxy.json &
  # It also takes in those whose parents are gone.
  wait
}

case $step in
  join)
    hierarchies make_group
    exec unshare --cgroup bash "$0" enter "$node"
    ;;
  enter)
    hierarchies leave_group
    # What it becomes is in the node's namespaces, but for the processes', which its children are in.
    echo $$ >"$PLACE/pid"
    exec nsenter --net="/run/netns/$node" -- unshare --mount --mount-proc --uts --ipc --pid --fork --kill-child=KILL -- \
      bash "$0" boot "$node"
    ;;
  boot) boot ;;
esac

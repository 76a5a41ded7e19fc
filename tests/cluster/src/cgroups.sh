# remove_groups FOLDER: removes the control groups that FOLDER/cgroup names, in whatever hierarchies there are, as soon as the
# processes in them are gone.
remove_groups() {
  local name
  [ -e "$1/cgroup" ] && name=$(<"$1/cgroup") && [ -n "$name" ] || return 0
  for _ in {1..500}; do
    find /sys/fs/cgroup/"$name" /sys/fs/cgroup/*/"$name" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -n "$(find /sys/fs/cgroup -maxdepth 2 -name "$name" 2>/dev/null)" ] || return 0
    sleep 0.02
  done
}

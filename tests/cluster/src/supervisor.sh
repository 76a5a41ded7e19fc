# The first process of a cluster's own process namespace: the kernel ends every other one in it when this one ends.
#
# Its input are orders, one a line: "start NAME" runs the command in servers/NAME, "stop NAME" ends it as a crash would,
# "list" does nothing. Each is answered with the names of the servers that run. The input ends when whoever gives the orders
# is gone, however that came about; then so is everything here, the control groups and the folder too.
folder=$1
declare -A servers
cd "$folder" || exit 1
# In a mount namespace of its own: the names of network namespaces are not for others to see, nor to outlive this. mount(8)
# would make a folder of its own in the host's /run without -n.
[ "$2" != mounts ] || mount -n -t tmpfs -o mode=755 run /run || exit 1
while read -r order name; do
  case $order in
    start)
      mapfile -d '' -t command <"servers/$name"
      "${command[@]}" >>"log/$name" 2>&1 </dev/null &
      servers[$name]=$!
      ;;
    stop)
      kill -KILL "${servers[$name]}"
      wait "${servers[$name]}" 2>/dev/null
      ;;
  esac
  running=""
  for name in "${!servers[@]}"; do
    kill -0 "${servers[$name]}" 2>/dev/null && running+="$name "
  done
  echo "$running"
done
# The shell would tell of each.
exec 2>/dev/null
# Those who came as orphans are not waited for by name.
while kill -KILL -1; do
  wait
  sleep 0.01
done
remove_groups "$folder"
cd / && rm -rf -- "$folder"

#!/bin/sh
# Prints events of a morning at a shop: wang works, and somebody guesses the password of li, opens
# one order after the other, and exports them. It begins at $1, in seconds since 1970; else at nine,
# UTC, seven days ago. Ids begin with $2, so that another morning is not taken for the same.
t=${1:-$(($(date +%s) / 86400 * 86400 - 159 * 3600))}
id=${2:-a}
n=0

event() { # SECOND ACTOR FROM REST
	n=$((n + 1))
	printf '{"id":"%s-%d","time":%d,"actor":"%s","role":"customer_service",%s,%s}\n' "$id" "$n" $((t + $1)) "$2" "$3" "$4"
}
view() { printf '"type":"order.access","operation":"view","orders":["%d"],"fields":["name","phone","address"]' "$1"; }

office='"ip":"203.0.113.57","device":"d-1"'
event 0 wang "$office" '"type":"auth.login","outcome":"success"'
for s in 11 37 90 101 163 240 251 330 402 455; do
	event $s wang "$office" "$(view $((44010100 + s)))"
done

tor='"ip":"185.220.101.1","device":"d-9"'
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
	event $((5 * i)) li "$tor" '"type":"auth.login","outcome":"failure"'
done
event 65 li "$tor" '"type":"auth.login","outcome":"success"'
i=1
while [ $i -le 300 ]; do
	event $((70 + 2 * i)) li "$tor" "$(view $((44010000 + i)))"
	i=$((i + 1))
done
event 700 li "$tor" '"type":"order.access","operation":"export","count":1800,"fields":["name","phone","address"],"bytes":412000'

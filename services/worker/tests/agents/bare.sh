# A task that passes nothing of its environment on to the program that listens.
exec env -i PATH="$PATH" HOME="$HOME" python3 -m http.server --bind 127.0.0.1 "$myport"

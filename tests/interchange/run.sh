#!/bin/sh
# Check an exported folder and its reference (write_reference.py) in transformers 4.57.6, in the newest 5, and served: run.sh DIR
set -eu
here=$(dirname "$0")
folder=$1
environments=${ENVIRONMENTS:-$HOME/.cache/audio-lm-interchange}
mkdir -p "$environments"

environment() { # name, requirements
    name=$1
    shift
    [ -x "$environments/$name/bin/python" ] || python3 -m venv "$environments/$name"
    "$environments/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

environment transformers4 transformers==4.57.6 torch==2.13.0 "numpy<2.4"
environment transformers5 "transformers[serving]>=5.5,<6" torch==2.13.0 soundfile soxr
for name in transformers4 transformers5; do
    "$environments/$name/bin/python" "$here/check_folder.py" "$folder"
done
"$environments/transformers5/bin/python" "$here/check_serve.py" "$folder"

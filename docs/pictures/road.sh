#!/usr/bin/env bash
# The road in six commands, as make.py records it. Needs an installed tfresnet; writes to runs/.
run() {
    printf '\033[1;32m$\033[0m \033[1m%s\033[0m\n' "$*"
    sleep 1.5
    eval "$*"
    sleep 2
}
run tfresnet train
run tfresnet export runs/quickstart --tflite --quantize float32 --quantize int8
cd runs/quickstart
run 'tfresnet predict export/model_int8.tflite samples/*.png --top 2'
run 'tfresnet benchmark export/model_float32.tflite export/model_int8.tflite'
sleep 4

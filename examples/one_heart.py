"""Make one beating heart from one ECG and one scan, and save it.

python examples/one_heart.py ECG SCAN weights/bench heart
"""

import sys

import cof

ecg, scan, weights, out = sys.argv[1:]
heart = cof.twin(ecg=ecg, scan=scan, weights=weights)

lv = heart.function["LV"]
print(f"EDV {lv['edv_ml']:.0f} mL, ESV {lv['esv_ml']:.0f} mL, EF {lv['ef_pct']:.1f} %, {heart.heart_rate_bpm:.0f} bpm")

frames, slices, rows, columns = heart.frames.shape
smallest = heart.volumes["lv_ml"].argmin()
print(f"{frames} frames of {slices} slices; the LV is smallest {heart.times_ms[smallest]:.0f} ms after end diastole")

for said in heart.warnings + heart.notices:
    print(said)
heart.save(out)

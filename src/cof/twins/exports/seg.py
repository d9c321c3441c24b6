"""The labels of a generated heart as DICOM Segmentation objects: one for each frame, of the images of `exports.dicom`.

The objects refer to the images by UIDs, which follow from the heart: exported together or apart, they belong together.
"""

from datetime import date, time
from pathlib import Path

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SegmentationStorage

from cof import __version__
from cof.heart.structures import STRUCTURES
from cof.twins.exports.dicom import CINE_SERIES, MANUFACTURER, MODEL, cine_datasets, content_hash, file_meta, uid_of
from cof.twins.exports.heart import SYNTHETIC, Heart

# A segmentation must have a date. It is this one in every file, so that the same heart has the same bytes.
NO_DATE, NO_TIME = date(1970, 1, 1), time(0, 0, 0)
# SNOMED CT; LV and RV are the cavities, and the myocardium is that of the LV.
TYPES = {
    "LV": codes.SCT.LeftVentricle,
    "myocardium": codes.SCT.LeftVentricleMyocardium,
    "RV": codes.SCT.RightVentricle,
}
_COLOURS = {"LV": (220, 60, 60), "myocardium": (70, 160, 80), "RV": (70, 110, 210)}  # sRGB


def segmentations(heart: Heart) -> list[Dataset]:
    """Make the segmentation of every frame, with a segment for each structure; segment numbers are the labels.

    A structure that is in no voxel of a frame has its segment there, without an image.

    Raises:
        UsageError: the rows and columns of the images are not at right angles.
    """
    identity = content_hash(heart.labels)
    return [
        _segmentation(heart, frame, images, content_hash(identity, images[0].SeriesInstanceUID))
        for frame, images in enumerate(cine_datasets(heart))
    ]


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write the segmentation of every frame: `frame01.dcm` and so on."""
    paths = []
    for number, made in enumerate(segmentations(heart), 1):
        path = folder / f"frame{number:02d}.dcm"
        made.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _segmentation(heart: Heart, frame: int, images: list[Dataset], series: str) -> Dataset:
    made = hd.seg.Segmentation(
        source_images=images,
        pixel_array=heart.labels[frame],
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(name) for name in STRUCTURES],
        series_instance_uid=uid_of(series, "series"),
        series_number=CINE_SERIES + 1,
        sop_instance_uid=uid_of(series, "frame", frame),
        instance_number=frame + 1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=__version__,
        device_serial_number="none",
        omit_empty_frames=False,  # readers crop what is written to the slices that have an image
        content_label="HEART",
        content_description=f"Frame {frame + 1}, {SYNTHETIC}",
        content_date=NO_DATE,
        content_time=NO_TIME,
        series_description=f"LV, myocardium, RV, {SYNTHETIC}",
    )
    made.SyntheticData = "YES"
    made.ImageComments = images[0].ImageComments
    # What highdicom takes from the clock and from random numbers.
    del made.InstanceCreationDate, made.InstanceCreationTime
    for equipment in made.ContributingEquipmentSequence:
        equipment.pop("ContributionDateTime", None)
    organisation = uid_of(series, "dimensions", frame)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    made.file_meta = file_meta(SegmentationStorage, made.SOPInstanceUID)
    return made


def _segment(name: str) -> hd.seg.SegmentDescription:
    segment = hd.seg.SegmentDescription(
        segment_number=STRUCTURES[name],
        segment_label=name,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=TYPES[name],
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="labels of a generated heart", family=codes.DCM.ArtificialIntelligence, version=__version__
        ),
        display_color=hd.color.CIELabColor.from_rgb(*_COLOURS[name]),
    )
    return segment

"""A patient whose every number is known: three lesions in a CT, nine variants."""

from __future__ import annotations

import numpy as np

from genomics.consequence import Consequence
from genomics.report import Classification, RecordPlace, ScoredVariant, VariantReport
from genomics.variant import Genotype, Variant
from napari_precimed.core.geometry import AxisOrder, Geometry
from napari_precimed.core.lesion import Lesion, LesionSet
from napari_precimed.core.patient import Case, Patient
from napari_precimed.core.run import RunRecord
from napari_precimed.core.volume import Source, Volume

SPACING_MM = (2.5, 0.8, 0.8)
ORIGIN_MM = (-60.0, -50.0, -200.0)


def ball_lesion(
    labels: np.ndarray, grid: Geometry, label: int, centre, radius_mm, **more
) -> Lesion:
    """Paint a ball into `labels`, and measure it by its formula."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    distance = np.linalg.norm((index - np.asarray(centre)) * grid.spacing_mm, axis=-1)
    labels[distance <= radius_mm] = label
    where = np.argwhere(labels == label)
    x, y, z = grid.index_to_world(centre)
    tall = radius_mm * 0.8
    return Lesion(
        label=label,
        volume_mm3=4 / 3 * np.pi * radius_mm**3,
        surface_mm2=4 * np.pi * radius_mm**2,
        centroid_mm=(x, y, z),
        bbox=tuple(zip(where.min(0).tolist(), (where.max(0) + 1).tolist(), strict=True)),
        long_axis_mm=2 * radius_mm,
        long_axis_ends_mm=((x - radius_mm, y, z), (x + radius_mm, y, z)),
        short_axis_mm=2 * tall,
        short_axis_ends_mm=((x, y - tall, z), (x, y + tall, z)),
        mean_intensity=-31.5,
        sd_intensity=42.0,
        **more,
    )


def ct_volume() -> Volume:
    """A drawn chest, stored from superior to inferior."""
    grid = Geometry.from_parts((24, 120, 150), SPACING_MM, ORIGIN_MM)
    _, y, x = np.indices(grid.shape)
    body = ((y - 60) / 55) ** 2 + ((x - 75) / 70) ** 2 < 1
    array = np.where(body, -850, -1000).astype(np.int16)
    array[body & (np.abs(x - 75) < 15)] = 40
    array[:, 90:100, 70:80] = 700
    return Volume(
        array,
        grid,
        modality="CT",
        patient_id="P-01",
        study_uid="1.2.3",
        series_uid="1.2.3.4",
        source=Source("/scans/thorax", "DICOM", AxisOrder((0, 1, 2), (True, False, False))),
        series_description="Thorax 2.5 mm",
        study_date="20240131",
    )


def lesions_in(volume: Volume) -> LesionSet:
    """Three balls, painted into the scan as well; the third is cut by its edge."""
    labels = np.zeros(volume.geometry.shape, np.int32)
    grid = volume.geometry
    found = (
        ball_lesion(
            labels, grid, 1, (10, 50, 110), 7.0,
            finding="lung nodule", confidence=0.91,
            probabilities={"malignant": 0.73, "benign": 0.27},
            attributes={"spiculation": 3.4, "calcification": 5.9},
        ),
        ball_lesion(labels, grid, 2, (15, 70, 35), 4.0, finding="lung nodule", confidence=0.6),
        ball_lesion(
            labels, grid, 3, (1, 50, 40), 3.0,
            finding="lung nodule", touches_border=True,
        ),
    )  # fmt: skip
    volume.array[labels > 0] = -30
    runs = (
        RunRecord("segment", "lung-nodule 0.1.0", "ab" * 32, {"tile": [96, 96, 96]}, "cpu",
                  "float32", timings_s={"read": 0.2, "network": 41.0},
                  warnings=("Stitched on the CPU.",)),
        RunRecord("measure"),
        RunRecord("classify", "lung-nodule-malignancy 0.1.0", "cd" * 32, device="cpu"),
    )  # fmt: skip
    return LesionSet(labels, grid, found, runs, volume.series_uid)


def scored_variant(number: int, gene: str, **more) -> ScoredVariant:
    """A heterozygous missense variant on its own line."""
    variant = Variant("GRCh38", "17", 7_675_000 + number, "C", "T")
    consequence = Consequence(
        ("missense_variant",), "VEP", gene, f"NM_{number:06d}.1",
        hgvs_c=f"c.{number}C>T", hgvs_p=f"p.Arg{number}His",
    )  # fmt: skip
    place = RecordPlace(number + 10, 1, variant.key, filters="PASS")
    return ScoredVariant(variant, Genotype((0, 1)), consequence, record=place, **more)


def nine_variants() -> VariantReport:
    """Six scored, one by rule, two not scored."""
    model = "missense-lstm 0.1.0"
    stop = scored_variant(
        1, "TP53",
        classification=Classification("likely disruptive", "stop_gained: truncates the protein"),
    )  # fmt: skip
    scored = tuple(
        scored_variant(n, f"GENE{n}", score=n / 10, doubt=0.05, model=model) for n in range(2, 8)
    )
    unknown = scored_variant(8, "TTN", reason="protein window: residue differs from the reference")
    nowhere = ScoredVariant(
        Variant("GRCh38", "1", 5, "A", "<DEL>"), None, None, reason="symbolic allele: no sequence"
    )
    run = {
        "task": "score variants", "model": model, "weights_sha256": "ef" * 32, "device": "cpu",
        "options": {"sample": None}, "versions": {"python": "3.11"}, "timings_s": {"score": 1.5},
    }  # fmt: skip
    return VariantReport("P-01", (nowhere, *scored, unknown, stop), run)


def toy_case() -> Case:
    """The whole patient."""
    patient = Patient("P-01", "Škvorecká Ødegård 山田", "F", "19610204")
    volume = ct_volume()
    whole = Case(patient).attach_volume(volume).attach_lesions(lesions_in(volume))
    return whole.attach_variants(nine_variants())

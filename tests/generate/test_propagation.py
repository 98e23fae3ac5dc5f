from __future__ import annotations

import numpy as np
import pytest

from transferline.generate.propagation import CURVATURE, Cylinder, reach_calorimeter

CMS = Cylinder(3.8, 1.29, 3.0)


def reach(momentum, charge, vertex=(0.0, 0.0, 0.0), cylinder=CMS):
    momentum, vertex = np.atleast_2d(momentum).astype(float), np.atleast_2d(vertex).astype(float)
    return [
        column[0] for column in reach_calorimeter(momentum, np.array([charge]), vertex, cylinder)
    ]


def stepped(momentum, charge, cylinder=CMS, step=1e-4):
    """Integrate dp/ds = CURVATURE q B (p x z) in small steps."""
    x, p = np.zeros(3), np.array(momentum, float)
    size = np.linalg.norm(p)
    turn = CURVATURE * charge * cylinder.field * step / size
    while np.hypot(x[0], x[1]) < cylinder.radius and abs(x[2]) < cylinder.half_length:
        middle = p + 0.5 * turn * np.array([p[1], -p[0], 0.0])
        x += step * middle / size
        p += turn * np.array([middle[1], -middle[0], 0.0])
    return np.arcsinh(x[2] / np.hypot(x[0], x[1])), np.arctan2(x[1], x[0])


def test_neutral_particle_from_the_origin_keeps_its_direction():
    reached, eta, phi, d0, dz, _ = reach((3.0, 4.0, 5.0), 0)
    assert reached
    assert eta == pytest.approx(np.arcsinh(1.0))
    assert phi == pytest.approx(np.arctan2(4.0, 3.0))
    assert d0 == dz == 0.0


@pytest.mark.parametrize("charge", [-1, 1])
@pytest.mark.parametrize("momentum", [(1.0, 0.4, 0.5), (-2.0, 1.0, -9.0), (0.5, 0.8, 0.1)])
def test_helix_agrees_with_small_steps(momentum, charge):
    reached, eta, phi, d0, dz, _ = reach(momentum, charge)
    assert reached
    assert (eta, phi) == pytest.approx(stepped(momentum, charge), abs=2e-3)
    assert (d0, dz) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_positive_charge_turns_clockwise():
    _, _, phi, *_ = reach((1.0, 0.0, 0.0), 1)
    assert phi < 0.0


def test_loopers_are_dropped():
    pt_min = CURVATURE * CMS.field * CMS.radius / 2.0
    assert not reach((0.95 * pt_min, 0.0, 0.01), 1)[0]
    assert reach((1.05 * pt_min, 0.0, 0.01), 1)[0]
    assert reach((0.5 * pt_min, 0.0, 20.0), 1)[0]  # leaves by the end cap before it turns


def test_particles_born_outside_are_dropped():
    assert not reach((5.0, 0.0, 0.0), 0, (1.3, 0.0, 0.0))[0]
    assert not reach((5.0, 0.0, 0.0), 0, (0.0, 0.0, 3.5))[0]


@pytest.mark.parametrize("charge", [-1, 1])
def test_impact_parameters_of_a_displaced_track(charge):
    straight = Cylinder(1e-6, 1.29, 3.0)
    _, _, _, d0, dz, direction = reach((10.0, 0.0, 10.0), charge, (0.002, 0.001, 0.003), straight)
    # Convention of CMS: d0 = (y px - x py) / pT; z at the closest point lies 2 mm back.
    assert d0 == pytest.approx(0.001, abs=1e-8)
    assert dz == pytest.approx(0.001, abs=1e-8)
    assert direction == pytest.approx(0.0, abs=1e-6)


def test_direction_at_closest_approach_is_that_before_the_track_turned():
    bent = reach((1.0, 0.0, 0.0), 1, (0.5, -0.1, 0.0))[-1]
    radius = 1.0 / (CURVATURE * CMS.field)
    centre = np.array([0.5, -0.1 - radius])
    assert bent == pytest.approx(np.arctan2(0.5, -centre[1]), abs=1e-9)


def test_loopers_spiral_to_the_end_of_the_tracker_if_asked_to():
    end = CMS._replace(loopers=True)
    momentum = (0.3, 0.1, 0.4)
    reached, eta, phi, *_ = reach(momentum, -1, cylinder=end)
    assert reached
    assert (eta, phi) == pytest.approx(stepped(momentum, -1), abs=2e-2)
    assert not reach((0.3, 0.1, 0.0), -1, cylinder=end)[0]  # never leaves

"""How much a replica is given."""

from built_targets import L4, optimized

from packager.render.sizing import size


def test_memory_grows_with_the_model():
    small, large = size([optimized(1)], None), size([optimized(1 << 30)], None)
    rounding = 64
    assert abs(large.memory_mib - small.memory_mib - 3 * 1023) < rounding
    assert small.memory_bytes == small.memory_mib << 20


def test_a_large_model_gets_more_time_to_start():
    assert size([optimized(8 << 30)], None).startup_seconds >= 60 + (8 << 10) // 20
    assert size([optimized(1)], None).startup_seconds == 60


def test_a_node_with_as_many_cores_as_threads_takes_the_pod():
    given = size([optimized(threads=4)], None)
    assert given.processor_millis < 4000 < given.processors * 1000


def test_threads_left_to_onnx_runtime_still_ask_for_a_core():
    given = size([optimized(threads=0)], None)
    assert (given.threads, given.processor_millis, given.processors) == (1, 500, 2)


def test_processors_scale_and_accelerators_do_not():
    assert size([optimized()], L4).autoscaling is None
    assert size([optimized()], L4).replicas == 1
    scaled = size([optimized()], None).autoscaling
    assert scaled
    assert scaled.maximum == 10 * scaled.minimum

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from tests.engine.small_engine import make_engine, save
from tests.serve.serving import Served


@pytest.fixture(scope="package")
def engine_directory(make_student, tmp_path_factory):
    directory = tmp_path_factory.mktemp("engine")
    save(make_engine(make_student(3)), directory)
    return directory


@pytest.fixture(scope="module")
def served(engine_directory):
    """One service for the tests of a module: they leave its ads as they were, or use ids of their own."""
    served = Served(engine_directory)
    yield served
    served.close()


@pytest.fixture
def serve(engine_directory):
    """Return a maker of services with other settings or keys."""
    made = []

    def make(*given, **more):
        made.append(Served(engine_directory, *given, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()

"""Read a catalog in which some rows are wrong.

Shows what a wrong row is told, what `skip_bad` leaves out, and what it keeps. Needs no PyTorch and takes a second.

    python examples/read_messy_catalogue.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from intently.catalog import read_ads
from intently.errors import InputError

# Columns are found by name, also by another system's names; lists are separated by "|".
MESSY = """\
product_id\tproduct_title\tbid\tstatus\tcountries\tday_parts\tinternal_note
k1\tElectric kettle, 1.7 l\t0.40\tactive\tde | at\tmon-fri@9-18\tok
k2\t\t0.20\tactive\tDE\t\tno title
k3\t电热水壶 不锈钢\t\tPaused\tCN\t\tno bid is fine
k4\tTeapot\tfree\tactive\tDE\t\tthe bid is no number
k5\tTea strainer\t0.10\tactive\tEU\t\tthe country is a region
k6\tThermos flask\t0.30\tactive\tDE\tweekend@9-18\tthe day part is none
k1\tElectric kettle, again\t0.40\tactive\tDE\t\tthe id is taken
k7\tMilk frother\t0.15\tactive\tDE\t\ta field\ttoo many
"""


def main() -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "ads.tsv"
        path.write_text(MESSY, encoding="utf-8")

        try:
            read_ads(path)
        except InputError as error:  # the error knows its parts, not only its message
            print(f"Strict reading refuses line {error.line}, field '{error.field}': {error.problem}; {error.cure}.\n")

        result = read_ads(path, skip_bad=True)
        print(f"With skip_bad, {result.num_skipped} of {result.num_rows} rows are left out:")
        for problem in result.problems:
            print("  " + problem.removeprefix(f"{directory}/"))
        print(f"\nColumns that no field is called, kept as payload: {', '.join(result.payload_columns)}")
        print(f"\n{result.catalog.num_ads} ads are kept, cleaned:")
        for ad_row in range(result.catalog.num_ads):
            ad = result.catalog.ad(ad_row)
            print(f"  {ad.ad_id}  {ad.title}  bid {ad.bid}, {ad.status}, {ad.countries}, {ad.day_parts}")


if __name__ == "__main__":
    main()

"""The report page: `report.html` in every run and sweep folder, one file that needs no network.

Place in the flow: `sei.run` writes a run's page when the run has ended, well or not; `train.py` and `sei.compare` write the
sweep's. The page is made from what lies in the folder alone: `folder` reads it, `overview`, `types` and `texts` say what the
page shows as plain JSON values, `render` puts them into `page.html`. Texts of models and teachers travel as JSON, and
the files in `script` put them on the page as text, never as HTML.

Example::

    from sei.tracking.page.run import write_run_page
    write_run_page(Path("multirun/sei-tiny-arithmetic-seed0-e3b0c442"))
"""

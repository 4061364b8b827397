"""The data set of one data loader, read as another reads its own."""

from collections.abc import Mapping


def dataset_with_pipeline(
    owner: str, purpose: str, loader: Mapping | None, reader: Mapping | None
) -> dict:
    """Config of the data set of ``loader`` with the pipeline of ``reader``.

    Args:
        owner: what the error calls who asks.
        purpose: what it says cannot be told, such as 'how to augment the test set'.
        loader: config of a data loader, whose data set is wanted.
        reader: config of another, whose pipeline is.

    Raises:
        ValueError: if either has no data set with a pipeline of its own.
    """
    datasets = [(one or {}).get('dataset') for one in (loader, reader)]
    if not all(isinstance(one, Mapping) and 'pipeline' in one for one in datasets):
        raise ValueError(
            f'{owner} cannot tell {purpose}, because a data loader of the config has no dataset '
            'with a pipeline; give it dataloader=dict(...).'
        )
    return {**datasets[0], 'pipeline': datasets[1]['pipeline']}

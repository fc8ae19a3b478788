"""Embedders and clusterers: from the keyphrases of diagnoses to groups of them.

Place in the flow: `conf/embedder/` and `conf/clustering/` bind one class each, and `sei.stages.cluster` is given the two
objects. Another clusterer is one class with the methods of `sei.clustering.base.Clusterer`, in any module, and one YAML.

Example::

    output = cluster(diagnoses, embedder=Hashing(), clusterer=KMeans(min_types=2, max_types=8))
"""

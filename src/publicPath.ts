// Of Grafana's loader of modules: where this module came from
import self from 'amd-module';

// What is loaded later lies beside this module, wherever Grafana or a network of caches serves it from.
__webpack_public_path__ = self.uri.slice(0, self.uri.lastIndexOf('/') + 1);

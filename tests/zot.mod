module build

go 1.22

require zotregistry.io/zot v1.4.3

// The module proxy does not serve its own path, and what it replaces is replaced only here.
replace (
	github.com/aquasecurity/fanal => github.com/project-zot/fanal v0.0.0-20211007194926-d0c577a014df
	github.com/aquasecurity/trivy => github.com/project-zot/trivy v0.9.2-0.20211013001708-27408aa50da3
	github.com/aquasecurity/trivy-db => github.com/project-zot/trivy-db v0.0.0-20211007191113-44f7e57b689c
	github.com/containers/image/v5 => github.com/anuvu/image/v5 v5.0.0-20220520105616-e594853d6471
	zotregistry.io/zot => github.com/project-zot/zot v1.4.3
)

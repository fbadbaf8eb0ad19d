# nix build, nix run . -- version, or in a flake of your own: inputs.tincan.packages.${system}.default
{
  description = "Full-mesh VPN, compatible with tinc";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      forAll = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
      release = nixpkgs.lib.fileContents ./packaging/VERSION;
      # As "tincan version" has it; "go test ./test/packages -run Flake" says what vendorHash has to be.
      version = "${release}-dev.${self.lastModifiedDate}+${if self ? rev then "g${builtins.substring 0 9 self.rev}" else "dirty"}";
    in
    {
      packages = forAll (pkgs: rec {
        tincan = pkgs.buildGoModule {
          pname = "tincan";
          inherit version;
          src = self;
          vendorHash = "sha256-n5hsTzRB4k7HVZoWgBmlbX+hTLRJXzYH9G30CY7psks=";
          subPackages = [ "cmd/tincan" ];
          tags = [ "netstack" ];
          env.CGO_ENABLED = 0;
          ldflags = [ "-s" "-w" "-X tincan/internal/cli/version.Number=${version}" ];
          nativeBuildInputs = [ pkgs.installShellFiles ];
          # The tests want namespaces and the network.
          doCheck = false;
          postInstall = ''
            mkdir man && $out/bin/tincan man man && installManPage man/*
            for shell in bash zsh fish; do $out/bin/tincan completion $shell >tincan.$shell; done
            installShellCompletion tincan.bash tincan.zsh tincan.fish
            install -Dm644 packaging/tincan@.service $out/lib/systemd/system/tincan@.service
            substituteInPlace $out/lib/systemd/system/tincan@.service --replace-fail /usr/local/bin/tincan $out/bin/tincan
          '';
          meta = {
            description = "Full-mesh VPN, compatible with tinc";
            license = pkgs.lib.licenses.mpl20;
            mainProgram = "tincan";
            platforms = pkgs.lib.platforms.unix;
          };
        };
        default = tincan;
      });
    };
}
